//! Where connections to endpoints come from (`envoy.config.core.v3.BindConfig`).

use std::net::SocketAddr;

use xds_api::envoy::config::core::v3 as core;

use crate::address;
use crate::context::Context;
use crate::rejected::Reported;
use crate::socket_option::SocketOption;

/// The address that connections come from, and what is set on their sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindConfig {
    /// The address; port 0 for any.
    pub source_address: Option<SocketAddr>,
    /// More addresses: the first of the target's family is used where `source_address` is of the other one.
    pub more_source_addresses: Vec<SourceAddress>,
    /// IP_FREEBIND.
    pub freebind: Option<bool>,
    /// What is set on sockets before they are bound.
    pub socket_options: Vec<SocketOption>,
}

/// One more address that connections come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceAddress {
    /// The address; port 0 for any.
    pub address: SocketAddr,
    /// What is set on its sockets, where that is not what is set on all.
    pub socket_options: Option<Vec<SocketOption>>,
}

impl BindConfig {
    /// Where a connection to `target` comes from, and what is set on its socket.
    pub fn source_for(&self, target: &SocketAddr) -> (Option<SocketAddr>, &[SocketOption]) {
        let is_of_family = |source: &SocketAddr| source.is_ipv4() == target.is_ipv4();
        if let Some(source) = self.source_address.filter(is_of_family) {
            return (Some(source), &self.socket_options);
        }
        match self
            .more_source_addresses
            .iter()
            .find(|more| is_of_family(&more.address))
        {
            Some(more) => {
                let options = more.socket_options.as_ref().unwrap_or(&self.socket_options);
                (Some(more.address), options)
            }
            None => (None, &self.socket_options),
        }
    }

    pub(crate) fn parse(context: &mut Context<'_>, message: &core::BindConfig) -> Result<Self, Reported> {
        context.check(message);
        let address = message.source_address.as_ref();
        let source_address = context.optional("source_address", address, address::parse_source);
        let extra: Result<Vec<SourceAddress>, _> = context.each(
            "extra_source_addresses",
            &message.extra_source_addresses,
            |context, extra| {
                context.check(extra);
                let address = context.required("address", extra.address.as_ref(), address::parse_source);
                let options = context.optional("socket_options", extra.socket_options.as_ref(), |context, options| {
                    context.check(options);
                    parse_options(context, &options.socket_options)
                });
                Ok(SourceAddress {
                    address: address?,
                    socket_options: options?,
                })
            },
        );
        let additional: Result<Vec<SourceAddress>, _> = context.each(
            "additional_source_addresses",
            &message.additional_source_addresses,
            |context, address| {
                Ok(SourceAddress {
                    address: address::parse_source(context, address)?,
                    socket_options: None,
                })
            },
        );
        let socket_options = parse_options(context, &message.socket_options);
        let (source_address, mut more, additional) = (source_address?, extra?, additional?);
        // The older field counts where the newer one is not set, as in Envoy.
        if more.is_empty() {
            more = additional;
        }
        if source_address.is_none() && !more.is_empty() {
            return Err(context.reject_field("source_address", "is required beside extra_source_addresses"));
        }
        Ok(Self {
            source_address,
            more_source_addresses: more,
            freebind: message.freebind.map(|flag| flag.value),
            socket_options: socket_options?,
        })
    }
}

fn parse_options(context: &mut Context<'_>, options: &[core::SocketOption]) -> Result<Vec<SocketOption>, Reported> {
    let options: Vec<Option<SocketOption>> = context.each("socket_options", options, SocketOption::parse)?;
    Ok(options.into_iter().flatten().collect())
}
