//! `/listeners`.

use std::fmt::Write as _;

use http::StatusCode;
use xds_api::envoy::admin::v3 as admin;
use xds_api::envoy::config::core::v3::{Address, address, socket_address};
use xds_api::{JsonStyle, to_json_styled};

use super::Answer;
use super::routes::Request;

pub(super) fn answer(request: &Request<'_>) -> Answer {
    let listeners = request.source.listeners();
    if request.parameters.value("format") == Some("json") {
        let listeners = admin::Listeners {
            listener_statuses: listeners,
        };
        return Answer::json(to_json_styled(
            &listeners,
            JsonStyle {
                pretty: true,
                ..JsonStyle::default()
            },
        ));
    }
    let mut text = String::new();
    for listener in &listeners {
        let addresses = listener
            .local_address
            .iter()
            .chain(&listener.additional_local_addresses);
        for address in addresses {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}::{}", listener.name, shown(address));
        }
    }
    Answer::text(StatusCode::OK, text)
}

/// An address as Envoy writes it in text.
pub(super) fn shown(address: &Address) -> String {
    match &address.address {
        Some(address::Address::SocketAddress(socket)) => {
            let port = match &socket.port_specifier {
                Some(socket_address::PortSpecifier::PortValue(port)) => port.to_string(),
                Some(socket_address::PortSpecifier::NamedPort(name)) => name.clone(),
                None => "0".to_owned(),
            };
            if socket.address.contains(':') {
                format!("[{}]:{port}", socket.address)
            } else {
                format!("{}:{port}", socket.address)
            }
        }
        Some(address::Address::Pipe(pipe)) => pipe.path.clone(),
        Some(address::Address::EnvoyInternalAddress(_)) | None => String::new(),
    }
}
