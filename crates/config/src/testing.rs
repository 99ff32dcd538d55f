//! What the tests of this crate share: resources written as YAML, and extensions that stand for those of other crates.

use std::any::Any;
use std::sync::Arc;

use xds_api::prost::{Message, Name};
use xds_api::{UnknownFields, from_document, yaml};

use crate::context::Context;
use crate::extensions::{ExtensionConfig, ExtensionKind, Extensions};
use crate::rejected::{Parsed, Rejected, Reported};

/// An extension without content.
#[derive(Debug)]
pub(crate) struct Stand {
    pub(crate) terminal: bool,
}

impl ExtensionConfig for Stand {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

fn passing(_: &mut Context<'_>, _: &[u8]) -> Result<Arc<dyn ExtensionConfig>, Reported> {
    Ok(Arc::new(Stand { terminal: false }))
}

fn terminal(_: &mut Context<'_>, _: &[u8]) -> Result<Arc<dyn ExtensionConfig>, Reported> {
    Ok(Arc::new(Stand { terminal: true }))
}

/// The extensions that the tests' resources name.
pub(crate) fn extensions() -> Extensions {
    use ExtensionKind as Kind;
    let mut extensions = Extensions::new();
    extensions
        .register(
            Kind::HttpFilter,
            "envoy.extensions.filters.http.router.v3.Router",
            terminal,
        )
        .register(Kind::HttpFilter, "envoy.extensions.filters.http.cors.v3.Cors", passing)
        .register(
            Kind::HttpFilterPerRoute,
            "envoy.extensions.filters.http.cors.v3.CorsPolicy",
            passing,
        )
        .register(
            Kind::ListenerFilter,
            "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
            passing,
        )
        .register(
            Kind::DownstreamTransportSocket,
            "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            passing,
        )
        .register(
            Kind::UpstreamTransportSocket,
            "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            passing,
        )
        .register(
            Kind::Secret,
            "envoy.extensions.transport_sockets.tls.v3.Secret",
            passing,
        );
    extensions
}

/// Reads a message from YAML.
pub(crate) fn message<M: Message + Name + Default>(text: &str) -> M {
    let document = yaml::parse(text, "test.yaml").unwrap_or_else(|error| panic!("{error}\n{text}"));
    from_document(&document, UnknownFields::Reject).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"))
}

/// The parser of a message, such as `Cluster::parse`.
pub(crate) type Parse<M, T> = fn(&mut Context<'_>, &M) -> Result<T, Reported>;

/// Parses a message written as YAML. What the proxy does not act on yet passes.
pub(crate) fn parse<M: Message + Name + Default, T>(
    parse: Parse<M, T>,
    text: &str,
) -> Result<Parsed<T>, Vec<Rejected>> {
    let message: M = message(text);
    Context::parse(&extensions(), |context| {
        context.everything = true;
        parse(context, &message)
    })
}

/// Parses a message that must be accepted.
pub(crate) fn accept<M: Message + Name + Default, T>(parser: Parse<M, T>, text: &str) -> T {
    parse(parser, text)
        .unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"))
        .value
}

/// Parses a message that must be accepted, and lists the fields in it that have no effect.
pub(crate) fn without_effect<M: Message + Name + Default, T>(parser: Parse<M, T>, text: &str) -> Vec<String> {
    let parsed = parse(parser, text).unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"));
    parsed
        .without_effect
        .iter()
        .map(|field| field.path.to_string())
        .collect()
}

/// Parses a message that must be refused, and lists its faults.
pub(crate) fn refuse<M: Message + Name + Default, T>(parser: Parse<M, T>, text: &str) -> Vec<String> {
    match parse(parser, text) {
        Ok(_) => panic!("was accepted:\n{text}"),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

/// Goes through cases that must be refused: what is added to `base`, and the one fault of it.
pub(crate) fn refuse_each<M: Message + Name + Default, T>(parser: Parse<M, T>, base: &str, cases: &[(&str, &str)]) {
    for (added, fault) in cases {
        assert_eq!(refuse(parser, &format!("{base}\n{added}\n")), [*fault], "{added}");
    }
}
