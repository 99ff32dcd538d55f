//! Streams as sources come into use.

use std::sync::Arc;
use std::time::Instant;

use config::ResourceType;
use config::config_source::ConfigSourceSpecifier;

use super::stream::Stream;
use super::{Engine, StreamSpecification, Transport};
use crate::session::{Session, SessionOptions, Variant};
use crate::source::SourceId;

impl Engine {
    /// The stream that serves a source, made when it is new. None where there is nothing to connect to.
    pub(super) fn stream_for(
        &mut self,
        specifier: &ConfigSourceSpecifier,
        resource_type: ResourceType,
        now: Instant,
    ) -> Option<&mut Stream> {
        let source = self.sources.intern(specifier, resource_type);
        if self.streams.len() <= source.0 {
            self.streams.resize_with(source.0 + 1, || None);
        }
        if self.streams[source.0].is_none() {
            let transport = self.transport(specifier, source, resource_type)?;
            let session = self.session(&transport);
            self.streams[source.0] = Some(Stream::new(session, source, &transport, now));
            self.new_streams.push(StreamSpecification { source, transport });
        }
        self.stream(source)
    }

    fn transport(
        &self,
        specifier: &ConfigSourceSpecifier,
        source: SourceId,
        resource_type: ResourceType,
    ) -> Option<Transport> {
        let api = match specifier {
            ConfigSourceSpecifier::Ads | ConfigSourceSpecifier::SelfSource => self.options.ads_config.clone()?,
            ConfigSourceSpecifier::Api(api) => Arc::clone(api),
            ConfigSourceSpecifier::Path {
                path,
                watched_directory,
            } => {
                let (path, watched_directory) = (Arc::clone(path), watched_directory.clone());
                return Some(Transport::File {
                    path,
                    watched_directory,
                    resource_type,
                });
            }
        };
        let aggregated = source == SourceId::ADS || api.api_type.is_aggregated();
        Some(Transport::Grpc {
            api,
            only: (!aggregated).then_some(resource_type),
        })
    }

    fn session(&self, transport: &Transport) -> Session {
        let (delta, node_on_first_message_only) = match transport {
            Transport::Grpc { api, .. } => (api.api_type.is_delta(), api.set_node_on_first_message_only),
            Transport::File { .. } => (false, true),
        };
        Session::new(SessionOptions {
            variant: if delta {
                Variant::Delta
            } else {
                Variant::StateOfTheWorld
            },
            node: self.options.node.clone(),
            node_on_first_message_only,
            does_not_exist_timeout: self.options.does_not_exist_timeout,
        })
    }
}
