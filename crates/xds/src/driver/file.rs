//! Resources from a file (`path_config_source`): a `DiscoveryResponse` in YAML, JSON or protobuf, read again when the
//! directory it is in changes.
//!
//! Envoy looks at the file when something is moved into its place. Here any change counts, and a file caught half written
//! is refused like any other bad response: the last good stays, and the rest of the writing is a change again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::ResourceType;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use xds_api::envoy::service::discovery::v3::DiscoveryResponse;
use xds_api::prost::Message;
use xds_api::{UnknownFields, from_document, json, yaml};

use super::{Shared, Wake};
use crate::session::{Request, Response};
use crate::source::SourceId;

/// How often a directory that cannot be watched is looked at.
const POLL: Duration = Duration::from_secs(1);

/// A file and what is in it.
pub(super) struct Watched {
    pub(super) source: SourceId,
    pub(super) path: Arc<str>,
    /// The directory whose changes count; that of the file when none.
    pub(super) watched_directory: Option<Arc<str>>,
    pub(super) resource_type: ResourceType,
}

/// Serves a file for as long as the client lives.
pub(super) async fn serve(shared: Arc<Shared>, file: Watched, wake: Arc<Wake>) {
    let changed = Arc::new(Notify::new());
    let watcher = watch(&file, &changed);
    if let Err(error) = &watcher {
        tracing::warn!(
            "{} is looked at every {POLL:?}: its directory cannot be watched: {error}",
            file.path
        );
    }
    shared.with(|engine, now| engine.stream_opened(file.source, 0, now));
    let (mut names, mut content, mut nonce) = (Vec::new(), None, 0u64);
    loop {
        // Names that are asked for now may have been in the file all the time.
        let asked = shared.with(|engine, now| {
            let mut asked = false;
            while let Some(Request::StateOfTheWorld(request)) = engine.next_request(file.source, now) {
                asked |= request.resource_names != names || nonce == 0;
                names = request.resource_names;
            }
            asked
        });
        let path = PathBuf::from(&*file.path);
        let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        match read {
            Ok(bytes) if asked || content.as_ref() != Some(&bytes) => {
                nonce += 1;
                match parse(&file, &bytes) {
                    Ok(response) => {
                        let response = Response::StateOfTheWorld(DiscoveryResponse {
                            nonce: nonce.to_string(),
                            ..response
                        });
                        if let Err(unexpected) = shared.with(|engine, now| engine.receive(file.source, response, now)) {
                            tracing::debug!("{}: ignored a {unexpected}", file.path);
                        }
                    }
                    Err(reason) => shared.with(|engine, _| engine.source_failed(file.source, reason)),
                }
                content = Some(bytes);
            }
            Ok(_) => {}
            Err(error) => {
                content = None;
                let reason = format!("{} cannot be read: {error}", file.path);
                shared.with(|engine, _| engine.source_failed(file.source, reason));
            }
        }
        tokio::select! {
            () = wake.serving.notified() => {}
            () = changed.notified() => {}
            () = tokio::time::sleep(POLL), if watcher.is_err() => {}
        }
    }
}

/// Tells of changes in the directory for as long as the watcher lives.
fn watch(file: &Watched, changed: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the file is an event, too.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            changed.notify_one();
        }
    })?;
    let own = Path::new(&*file.path)
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = file
        .watched_directory
        .as_deref()
        .map(Path::new)
        .or(own)
        .unwrap_or(Path::new("."));
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Reads the response by the ending of the file's name, as Envoy does.
fn parse(file: &Watched, bytes: &[u8]) -> Result<DiscoveryResponse, String> {
    let refused = |reason: &dyn std::fmt::Display| format!("{}: {reason}", file.path);
    let mut response = if file.path.ends_with(".pb") {
        DiscoveryResponse::decode(bytes).map_err(|error| refused(&error))?
    } else {
        let text = std::str::from_utf8(bytes).map_err(|error| refused(&error))?;
        let parse = if file.path.ends_with(".json") {
            json::parse
        } else {
            yaml::parse
        };
        let document = parse(text, &file.path).map_err(|error| error.to_string())?;
        from_document::<DiscoveryResponse>(&document, UnknownFields::Reject).map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            refused(&errors.join("; "))
        })?
    };
    if response.type_url.is_empty() {
        response.type_url = file.resource_type.type_url().to_owned();
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Watched {
        Watched {
            source: SourceId::ADS,
            path: path.into(),
            watched_directory: None,
            resource_type: ResourceType::Cluster,
        }
    }

    const YAML: &str = "
version_info: '7'
resources:
- '@type': type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: backend
";

    #[test]
    fn yaml_json_and_protobuf_are_told_by_the_name_of_the_file() {
        let of_yaml = parse(&file("cds.yaml"), YAML.as_bytes()).expect("good");
        assert_eq!((of_yaml.version_info.as_str(), of_yaml.resources.len()), ("7", 1));
        assert_eq!(
            of_yaml.type_url,
            ResourceType::Cluster.type_url(),
            "the type need not be said"
        );
        let of_pb = parse(&file("cds.pb"), &of_yaml.encode_to_vec()).expect("good");
        assert_eq!(of_pb, of_yaml);
        let json = r#"{"version_info": "7", "resources": [
            {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "backend"}]}"#;
        assert_eq!(parse(&file("cds.json"), json.as_bytes()).expect("good"), of_yaml);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        for (path, text) in [
            ("a.yaml", "resources: 7"),
            ("b.json", "{"),
            ("c.pb", "\u{7f}"),
            ("d.yaml", "no_field: 1"),
        ] {
            let reason = parse(&file(path), text.as_bytes()).expect_err("bad");
            assert!(reason.contains(path), "{reason}");
        }
        assert!(parse(&file("e.yaml"), &[0xff]).is_err());
    }
}
