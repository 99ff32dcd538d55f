//! Sources other than the aggregated stream: a stream per type, files.

use std::path::PathBuf;

use config::config_source::ConfigSourceSpecifier;
use xds_api::envoy::service::cluster::v3::cluster_discovery_service_server::{
    ClusterDiscoveryService, ClusterDiscoveryServiceServer,
};
use xds_api::prost::Message;

use super::*;

/// Answers every request for clusters with the one it has.
struct Clusters;

#[tonic::async_trait]
impl ClusterDiscoveryService for Clusters {
    type StreamClustersStream = Responses<DiscoveryResponse>;
    type DeltaClustersStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_clusters(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamClustersStream>, Status> {
        let response = DiscoveryResponse {
            type_url: CDS.type_url().into(),
            resources: vec![fixture("own", &[]).any(CDS)],
            ..Default::default()
        };
        Ok(Response::new(Box::pin(
            tokio_stream::iter([Ok(response)]).chain(tokio_stream::pending()),
        )))
    }

    async fn delta_clusters(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaClustersStream>, Status> {
        let resource = Resource {
            name: "own".into(),
            resource: Some(fixture("own", &[]).any(CDS)),
            ..Default::default()
        };
        let response = DeltaDiscoveryResponse {
            type_url: CDS.type_url().into(),
            resources: vec![resource],
            ..Default::default()
        };
        Ok(Response::new(Box::pin(
            tokio_stream::iter([Ok(response)]).chain(tokio_stream::pending()),
        )))
    }

    async fn fetch_clusters(&self, _: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("REST only"))
    }
}

#[test]
fn a_type_may_have_a_server_and_a_stream_of_its_own() {
    both(|delta| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = listener.local_addr().expect("bound");
        let serving = tonic::transport::Server::builder()
            .add_service(ClusterDiscoveryServiceServer::new(Clusters))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(async move { drop(serving.await) });
        let mut server = Server::start().await;
        let mut options = options(delta, &[server.address]);
        let mut api = ApiConfigSource::clone(super::options(delta, &[own]).ads_config.as_ref().expect("set"));
        api.api_type = if delta { ApiType::DeltaGrpc } else { ApiType::Grpc };
        options.cds_config = Some(Arc::new(ConfigSource {
            specifier: ConfigSourceSpecifier::Api(Arc::new(api)),
            initial_fetch_timeout: Duration::ZERO,
        }));
        let handle = start(options);
        let mut stream = server.accept().await;
        assert_eq!(
            stream.request().await.resource_type,
            LDS,
            "clusters are not asked for here"
        );
        stream.send(LDS, "1", &[fixture("l", &["cds:own"])]);
        until(&handle, "cds:own lds:l").await;
        assert_eq!(handle.status().streams.len(), 2);
    });
}

#[test]
fn initial_metadata_comes_with_every_stream() {
    both(|delta| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (told, mut heard) = mpsc::unbounded_channel();
        let (streams, mut accepted) = mpsc::unbounded_channel();
        let service = Service { streams, late: false };
        let service = AggregatedDiscoveryServiceServer::with_interceptor(service, move |request: Request<()>| {
            let _ = told.send(request.metadata().clone());
            Ok(request)
        });
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(async move { drop(serving.await) });
        let mut options = options(delta, &[address]);
        let mut api = ApiConfigSource::clone(options.ads_config.as_ref().expect("set"));
        api.grpc_services[0].initial_metadata = vec![
            ("x-token".into(), Arc::from(&b"secret"[..])),
            ("x-raw-bin".into(), Arc::from(&[0u8, 255][..])),
        ];
        options.ads_config = Some(Arc::new(api));
        let _handle = start(options);
        for _ in 0..2 {
            let metadata = tokio::time::timeout(SOON, heard.recv())
                .await
                .expect("in time")
                .expect("a stream");
            assert_eq!(
                metadata.get("x-token").map(|value| value.as_bytes()),
                Some(&b"secret"[..])
            );
            let raw = metadata.get_bin("x-raw-bin").and_then(|value| value.to_bytes().ok());
            assert_eq!(raw.as_deref(), Some(&[0u8, 255][..]));
            let stream: Conversation = accepted.recv().await.expect("a stream");
            stream.fail(Status::unavailable("again"));
        }
    });
}

#[test]
fn a_file_behind_a_link_is_read_again_when_its_watched_directory_changes() {
    both(|delta| async move {
        let directory = std::env::temp_dir().join(format!("xds-watched-{}-{delta}", std::process::id()));
        // What the link leads to changes without a change of the link's own directory.
        let (link, files, watched) = (
            directory.join("link"),
            directory.join("files"),
            directory.join("watched"),
        );
        for folder in [&link, &files, &watched] {
            std::fs::create_dir_all(folder).expect("a directory");
        }
        std::os::unix::fs::symlink(files.join("cds.pb"), link.join("cds.pb")).expect("a link");
        let write = |fixtures: &[Fixture]| {
            let resources = fixtures.iter().map(|fixture| fixture.any(CDS)).collect();
            let response = DiscoveryResponse {
                version_info: "1".into(),
                resources,
                ..Default::default()
            };
            std::fs::write(files.join("cds.pb"), response.encode_to_vec()).expect("writable");
        };
        let move_in = |name: &str| {
            std::fs::write(directory.join("new"), name).expect("writable");
            std::fs::rename(directory.join("new"), watched.join(name)).expect("movable");
        };
        write(&[fixture("a", &[])]);
        let mut options = options(delta, &[]);
        options.ads_config = None;
        options.lds_config = None;
        options.cds_config = Some(Arc::new(ConfigSource {
            specifier: ConfigSourceSpecifier::Path {
                path: link.join("cds.pb").to_str().expect("UTF-8").into(),
                watched_directory: Some(watched.to_str().expect("UTF-8").into()),
            },
            initial_fetch_timeout: Duration::ZERO,
        }));
        let handle = start(options);
        until(&handle, "cds:a").await;
        write(&[fixture("b", &[])]);
        move_in("signal");
        until(&handle, "cds:b").await;
        let _ = std::fs::remove_dir_all(&directory);
    });
}

#[test]
fn resources_come_from_files_and_follow_their_changes() {
    both(|delta| async move {
        let directory = std::env::temp_dir().join(format!("xds-files-{}-{delta}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let path = |name: &str| directory.join(name);
        let source = |path: PathBuf| {
            let path = path.to_str().expect("UTF-8").into();
            Some(Arc::new(ConfigSource {
                specifier: ConfigSourceSpecifier::Path {
                    path,
                    watched_directory: None,
                },
                initial_fetch_timeout: Duration::ZERO,
            }))
        };
        let write = |name: &str, resource_type: ResourceType, fixtures: &[Fixture]| {
            let resources = fixtures.iter().map(|fixture| fixture.any(resource_type)).collect();
            let response = DiscoveryResponse {
                version_info: "1".into(),
                resources,
                ..Default::default()
            };
            std::fs::write(path("new"), response.encode_to_vec()).expect("writable");
            std::fs::rename(path("new"), path(name)).expect("movable");
        };
        write("cds.pb", CDS, &[fixture("a", &[])]);
        let mut options = options(delta, &[]);
        options.ads_config = None;
        options.cds_config = source(path("cds.pb"));
        options.lds_config = source(path("lds.pb"));
        let handle = start(options);
        until(&handle, "cds:a").await;
        write("lds.pb", LDS, &[fixture("l", &["cds:a"])]);
        until(&handle, "cds:a lds:l").await;
        assert!(handle.readiness().wait_for(|readiness| readiness.ready).await.is_ok());
        std::fs::write(path("cds.pb"), b"\x7f no response").expect("writable");
        let failed = || {
            let streams = handle.status().streams;
            streams
                .iter()
                .any(|stream| stream.last_error.as_ref().is_some_and(|error| error.contains("cds.pb")))
        };
        while !failed() {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            published(&handle.configs().current()),
            "cds:a lds:l",
            "the last good stays"
        );
        write("cds.pb", CDS, &[fixture("a", &[]), fixture("b", &[])]);
        until(&handle, "cds:a cds:b lds:l").await;
        let _ = std::fs::remove_dir_all(&directory);
    });
}
