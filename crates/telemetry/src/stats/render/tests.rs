use crate::stats::{
    Format, HistogramBuckets, Kinds, Query, Registry, Scope, Settings, Shard, Tag, TagValue, cds, cluster,
    cluster_membership, http, listener, listener_http, listener_worker, server, ssl,
};

const WORKER: Shard = Shard::worker(0);

fn query(text: &str) -> Query {
    Query::parse(text).unwrap()
}

#[test]
fn text_lists_texts_then_numbers_then_histograms_each_by_name() {
    let registry = Registry::new(1);
    let cluster = registry.block(Scope::Cluster("a"), &cluster::TABLE);
    let cds = registry.block(Scope::Process("cluster_manager.cds."), &cds::TABLE);
    cds.set_text(cds::VERSION_TEXT, "7");
    cluster.add(WORKER, cluster::UPSTREAM_RQ_TOTAL, 3);
    cluster.count_code(WORKER, cluster::UPSTREAM_RQ_CODE, 200);
    cluster.add(WORKER, cluster::UPSTREAM_RQ_2XX, 1);
    cluster.inc(WORKER, cluster::UPSTREAM_CX_ACTIVE);
    [0, 1, 1, 1, 1, 1, 2, 2]
        .iter()
        .for_each(|ms| cluster.record(WORKER, cluster::UPSTREAM_CX_LENGTH_MS, *ms));
    assert_eq!(
        registry.render(&query("usedonly")),
        "cluster_manager.cds.version_text: \"7\"\n\
         cluster.a.upstream_cx_active: 1\n\
         cluster.a.upstream_rq_200: 1\n\
         cluster.a.upstream_rq_2xx: 1\n\
         cluster.a.upstream_rq_total: 3\n\
         cluster.a.upstream_cx_length_ms: P0(nan,0) P25(nan,1.0166666666666666) P50(nan,1.05) P75(nan,1.0833333333333333) \
         P90(nan,2.066666666666667) P95(nan,2.066666666666667) P99(nan,2.066666666666667) P99.5(nan,2.066666666666667) \
         P99.9(nan,2.066666666666667) P100(nan,2.066666666666667)\n"
    );
    let everything = registry.render(&Query::default());
    assert!(everything.contains("cluster.a.upstream_rq_timeout: 0\n"));
    assert!(everything.contains("cluster.a.upstream_cx_connect_ms: No recorded values\n"));
    assert!(
        !everything.contains("upstream_rq_5xx"),
        "a class appears once it was seen"
    );
}

#[test]
fn names_below_a_prefix_that_begins_like_another_are_sorted_among_each_other() {
    let registry = Registry::new(1);
    let _listener = registry.block(Scope::Listener("127.0.0.1:80"), &listener::TABLE);
    let _http = registry.block(Scope::ListenerHttp("127.0.0.1:80", "in"), &listener_http::TABLE);
    let _ssl = registry.block(Scope::Listener("127.0.0.1:80"), &ssl::TABLE);
    let text = registry.render(&query("type=Counters"));
    let names: Vec<&str> = text.lines().map(|line| line.split_once(": ").unwrap().0).collect();
    assert!(names.is_sorted(), "{text}");
    assert!(names.contains(&"listener.127.0.0.1_80.http.in.downstream_rq_2xx"));
}

#[test]
fn an_interval_is_what_came_between_two_flushes() {
    let registry = Registry::new(1);
    let block = registry.block(Scope::Cluster("a"), &cluster::TABLE);
    block.record(WORKER, cluster::UPSTREAM_RQ_TIME, 5);
    registry.flush();
    let shown = registry.render(&query("filter=rq_time$"));
    assert!(
        shown.starts_with("cluster.a.upstream_rq_time: P0(5.05,5.05) P25(5.05,5.05)"),
        "{shown}"
    );
    block.record(WORKER, cluster::UPSTREAM_RQ_TIME, 70);
    registry.flush();
    let shown = registry.render(&query("filter=rq_time$"));
    assert!(shown.contains("P0(70.5,5.05)"), "{shown}");
    registry.flush();
    assert!(registry.render(&query("filter=rq_time$")).contains("P0(nan,5.05)"));
}

#[test]
fn buckets_and_bins_are_written_as_envoy_writes_them() {
    let registry = Registry::new(1);
    let block = registry.block(Scope::Http("ingress"), &http::TABLE);
    [0, 1, 1, 1, 1, 1, 2, 2]
        .iter()
        .for_each(|ms| block.record(WORKER, http::DOWNSTREAM_CX_LENGTH_MS, *ms));
    let only = |more: &str| registry.render(&query(&format!("filter=downstream_cx_len{more}")));
    assert_eq!(
        only("&histogram_buckets=cumulative"),
        "http.ingress.downstream_cx_length_ms: B0.5(0,1) B1(0,6) B5(0,8) B10(0,8) B25(0,8) B50(0,8) B100(0,8) B250(0,8) \
         B500(0,8) B1000(0,8) B2500(0,8) B5000(0,8) B10000(0,8) B30000(0,8) B60000(0,8) B300000(0,8) B600000(0,8) \
         B1.8e+06(0,8) B3.6e+06(0,8)\n"
    );
    assert!(only("&histogram_buckets=disjoint").contains("B0.5(0,1) B1(0,5) B5(0,2) B10(0,0)"));
    assert!(only("&histogram_buckets=detailed").starts_with(
        "http.ingress.downstream_cx_length_ms:\n  totals=0,0:1, 1,0.1:5, 2,0.1:2\n  intervals=\n  summary=P0(nan,0) "
    ));
    let json = only("&format=json&histogram_buckets=detailed");
    assert!(json.starts_with(
        r#"{"stats":[{"histograms":{"supported_percentiles":[0,25,50,75,90,95,99,99.5,99.9,100],"details":[{"name":"http.ingress.downstream_cx_length_ms","totals":[{"lower_bound":0,"width":0,"count":1},{"lower_bound":1,"width":0.1,"count":5},{"lower_bound":2,"width":0.1,"count":2}],"intervals":[],"percentiles":[{"cumulative":0,"interval":null},{"cumulative":1.0166666666666666,"interval":null}"#
    ), "{json}");
    assert!(json.ends_with(r#""interval":null}]}]}}]}"#), "{json}");
    let json = only("&format=json&histogram_buckets=cumulative");
    assert!(json.starts_with(
        r#"{"stats":[{"histograms":[{"name":"http.ingress.downstream_cx_length_ms","buckets":[{"upper_bound":0.5,"interval":0,"cumulative":1},{"upper_bound":1,"interval":0,"cumulative":6}"#
    ), "{json}");
    assert!(json.ends_with("]}]}]}"), "{json}");
}

#[test]
fn json_has_numbers_texts_and_one_object_of_histograms() {
    let registry = Registry::new(1);
    let server = registry.block(Scope::Process("server."), &server::TABLE);
    server.set(Shard::CONTROL, server::UPTIME, 166);
    server.record(Shard::CONTROL, server::INITIALIZATION_TIME_MS, 12);
    assert_eq!(
        registry.render(&query("format=json&filter=server.uptime")),
        r#"{"stats":[{"name":"server.uptime","value":166}]}"#
    );
    assert_eq!(registry.render(&query("format=json&filter=nope")), r#"{"stats":[]}"#);
    let both = registry.render(&query("format=json&filter=server.uptime|server.initi"));
    assert!(both.starts_with(
        r#"{"stats":[{"name":"server.uptime","value":166},{"histograms":{"supported_quantiles":[0,25,50,75,90,95,99,99.5,99.9,100],"computed_quantiles":[{"name":"server.initialization_time_ms","values":[{"cumulative":12.5,"interval":null},"#
    ), "{both}");
    assert!(both.ends_with("]}]}}]}"), "{both}");
}

#[test]
fn prometheus_turns_variable_parts_into_labels() {
    let registry = Registry::new(1);
    let cluster = registry.block(Scope::Cluster("local"), &cluster::TABLE);
    cluster.count_code(WORKER, cluster::UPSTREAM_RQ_CODE, 404);
    cluster.increment(WORKER, cluster::UPSTREAM_RQ_4XX);
    let listener = registry.block(Scope::ListenerHttp("127.0.0.1:80", "in"), &listener_http::TABLE);
    listener.increment(WORKER, listener_http::DOWNSTREAM_RQ_2XX);
    let ssl = registry.block(Scope::Listener("127.0.0.1:80"), &ssl::TABLE);
    ssl.increment(WORKER, ssl::CIPHERS_TLS_AES_256_GCM_SHA384);
    let cds = registry.block(Scope::Process("cluster_manager.cds."), &cds::TABLE);
    cds.increment(Shard::CONTROL, cds::UPDATE_ATTEMPT);
    let members = registry.block(Scope::Cluster("local"), &cluster_membership::TABLE);
    members.set(Shard::CONTROL, cluster_membership::MEMBERSHIP_TOTAL, 2);
    assert_eq!(
        registry.render(&query("format=prometheus&usedonly")),
        "# TYPE envoy_cluster_upstream_rq counter\n\
         envoy_cluster_upstream_rq{envoy_response_code=\"404\",envoy_cluster_name=\"local\"} 1\n\
         # TYPE envoy_cluster_upstream_rq_xx counter\n\
         envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"4\",envoy_cluster_name=\"local\"} 1\n\
         # TYPE envoy_cluster_manager_cds_update_attempt counter\n\
         envoy_cluster_manager_cds_update_attempt{} 1\n\
         # TYPE envoy_listener_http_downstream_rq_xx counter\n\
         envoy_listener_http_downstream_rq_xx{envoy_response_code_class=\"2\",envoy_http_conn_manager_prefix=\"in\",envoy_listener_address=\"127.0.0.1_80\"} 1\n\
         # TYPE envoy_listener_ssl_ciphers counter\n\
         envoy_listener_ssl_ciphers{envoy_ssl_cipher=\"TLS_AES_256_GCM_SHA384\",envoy_listener_address=\"127.0.0.1_80\"} 1\n\
         # TYPE envoy_cluster_membership_total gauge\n\
         envoy_cluster_membership_total{envoy_cluster_name=\"local\"} 2\n"
    );
    assert!(registry.render(&query("format=prometheus&text_readouts&filter=version_text")).contains(
        "# TYPE envoy_cluster_manager_cds_version_text gauge\nenvoy_cluster_manager_cds_version_text{text_value=\"\"} 0\n"
    ));
}

#[test]
fn prometheus_histograms_have_cumulative_buckets_sum_and_count() {
    let registry = Registry::new(1);
    let block = registry.block(Scope::Http("in"), &http::TABLE);
    block.record(WORKER, http::DOWNSTREAM_RQ_TIME, 3);
    let text = registry.render(&query("format=prometheus&usedonly"));
    assert!(text.starts_with(
        "# TYPE envoy_http_downstream_rq_time histogram\n\
         envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix=\"in\",le=\"0.5\"} 0\n"
    ));
    assert!(text.contains("le=\"1800000\"} 1\n"));
    assert!(text.ends_with(
        "envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix=\"in\",le=\"+Inf\"} 1\n\
         envoy_http_downstream_rq_time_sum{envoy_http_conn_manager_prefix=\"in\"} 3\n\
         envoy_http_downstream_rq_time_count{envoy_http_conn_manager_prefix=\"in\"} 1\n"
    ));
    let summary = registry.render(&query("format=prometheus&usedonly&histogram_buckets=summary"));
    assert!(
        summary
            .contains("envoy_http_downstream_rq_time{envoy_http_conn_manager_prefix=\"in\",quantile=\"0.995\"} nan\n")
    );
}

#[test]
fn label_values_are_escaped() {
    let registry = Registry::new(1);
    let block = registry.block(Scope::Cluster("a\"b\\c"), &cluster::TABLE);
    block.increment(WORKER, cluster::UPSTREAM_CX_TOTAL);
    assert!(
        registry
            .render(&query("format=prometheus&usedonly"))
            .contains(r#"{envoy_cluster_name="a\"b\\c"} 1"#)
    );
    assert!(
        registry
            .render(&query("format=json&usedonly"))
            .contains(r#""name":"cluster.a\"b\\c.upstream_cx_total""#)
    );
}

#[test]
fn a_query_is_read_as_envoy_reads_it() {
    let parsed =
        query("usedonly&filter=server%5C.live%7Ca+b&format=prometheus&type=Gauges&histogram_buckets=disjoint&x=y");
    assert!(parsed.used_only);
    assert_eq!(parsed.filter.unwrap().as_str(), "server\\.live|a b");
    assert_eq!((parsed.format, parsed.kinds), (Format::Prometheus, Kinds::Gauges));
    assert_eq!(parsed.histogram_buckets, HistogramBuckets::Disjoint);
    assert_eq!(
        Query::parse("type=Bogus").unwrap_err().to_string(),
        "invalid &type= param"
    );
    assert!(Query::parse("format=bogus").is_err());
    assert!(Query::parse("histogram_buckets=bogus").is_err());
    assert!(
        Query::parse("filter=%5B")
            .unwrap_err()
            .to_string()
            .starts_with("Invalid re2 regex: ")
    );
}

/// Expected names and labels are what Envoy 1.39.3 printed for these tags.
#[test]
fn labels_that_the_operator_chose_are_taken_out_of_the_whole_name() {
    let tags = || {
        let name = |name: &str, regex: &str| Tag {
            name: name.into(),
            value: TagValue::Name(regex::Regex::new(regex).unwrap()),
        };
        vec![
            Tag {
                name: "fixed.tag".into(),
                value: TagValue::Fixed("v1".into()),
            },
            name("mycluster", r"^cluster\.((.+?)\.)"),
            name("code_class", r"_rq(_(\dxx))$"),
        ]
    };
    let shown = |default_tags: Option<Vec<Box<str>>>| {
        let settings = Settings {
            tags: tags(),
            default_tags,
            ..Settings::default()
        };
        let registry = Registry::with_settings(1, settings);
        let cluster = registry.block(Scope::Cluster("stable"), &cluster::TABLE);
        let worker = registry.block(Scope::ListenerWorker("127.0.0.1:80", 0), &listener_worker::TABLE);
        cluster.add(WORKER, cluster::UPSTREAM_RQ_2XX, 1);
        cluster.count_code(WORKER, cluster::UPSTREAM_RQ_CODE, 200);
        worker.add(WORKER, listener_worker::DOWNSTREAM_CX_TOTAL, 1);
        let text = registry.render(&query("format=prometheus&usedonly"));
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        shown(None),
        [
            "envoy_cluster_upstream_rq{envoy_response_code_class=\"2\",fixed_tag=\"v1\",code_class=\"2xx\",\
             envoy_cluster_name=\"stable\",mycluster=\"stable\"} 1",
            "envoy_cluster_upstream_rq{envoy_response_code=\"200\",fixed_tag=\"v1\",\
             envoy_cluster_name=\"stable\",mycluster=\"stable\"} 1",
            "envoy_listener_worker_downstream_cx_total{fixed_tag=\"v1\",envoy_worker_id=\"0\",\
             envoy_listener_address=\"127.0.0.1_80\"} 1",
        ]
    );
    assert_eq!(
        shown(Some(Vec::new())),
        [
            "envoy_cluster_upstream_rq{fixed_tag=\"v1\",code_class=\"2xx\",mycluster=\"stable\"} 1",
            "envoy_cluster_upstream_rq_200{fixed_tag=\"v1\",mycluster=\"stable\"} 1",
            "envoy_listener_127_0_0_1_80_worker_0_downstream_cx_total{fixed_tag=\"v1\"} 1",
        ]
    );
}

#[test]
fn only_chosen_statistics_are_shown_and_histograms_in_chosen_buckets() {
    let settings = Settings {
        shown: Some(Box::new(|name| !name.ends_with("_bytes_total"))),
        buckets: vec![(Box::new(|name| name.starts_with("cluster.a.")), Box::new([1.0, 100.0]))],
        ..Settings::default()
    };
    let registry = Registry::with_settings(1, settings);
    let cluster = registry.block(Scope::Cluster("a"), &cluster::TABLE);
    cluster.add(WORKER, cluster::UPSTREAM_CX_RX_BYTES_TOTAL, 1);
    cluster.record(WORKER, cluster::UPSTREAM_RQ_TIME, 5);
    for format in ["text", "json", "prometheus"] {
        let text = registry.render(&query(&format!("format={format}&usedonly")));
        assert!(!text.contains("bytes_total"), "{text}");
    }
    let text = registry.render(&query("usedonly&histogram_buckets=cumulative"));
    assert_eq!(text, "cluster.a.upstream_rq_time: B1(0,0) B100(0,1)\n");
}
