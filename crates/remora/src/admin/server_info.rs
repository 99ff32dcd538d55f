//! `/server_info`.

use xds_api::envoy::admin::v3::ServerInfo;
use xds_api::envoy::config::core::v3::Node;
use xds_api::google::protobuf::{Duration, Value, value};
use xds_api::{JsonStyle, to_json_styled};

use super::Answer;
use super::routes::Request;
use super::source::LAST_GOOD;

/// The message has no field for where the configuration comes from: it is said in the node's metadata under this name.
const CONFIGURATION: &str = "remora.configuration";

pub(super) fn answer(request: &Request<'_>) -> Answer {
    let source = request.source;
    let seconds = i64::try_from(source.uptime().as_secs()).unwrap_or(i64::MAX);
    let uptime = Duration { seconds, nanos: 0 };
    let info = ServerInfo {
        version: crate::version::text(),
        state: source.state().in_server_info().into(),
        uptime_current_epoch: Some(uptime),
        uptime_all_epochs: Some(uptime),
        hot_restart_version: source.hot_restart_version().to_owned(),
        command_line_options: Some(source.command_line_options()),
        node: Some(if source.serves_last_good() {
            with_configuration(source.node(), LAST_GOOD)
        } else {
            source.node()
        }),
        ..ServerInfo::default()
    };
    Answer::json(to_json_styled(
        &info,
        JsonStyle {
            pretty: true,
            defaults: true,
            redact: false,
        },
    ))
}

fn with_configuration(mut node: Node, text: &str) -> Node {
    let value = Value {
        kind: Some(value::Kind::StringValue(text.to_owned())),
    };
    let metadata = node.metadata.get_or_insert_default();
    metadata.fields.insert(CONFIGURATION.to_owned(), value);
    node
}
