//! The messages of HTTP filters; their parsers are with the filters.

use xds_api::envoy::config::common::mutation_rules::v3 as rules;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::filters::http::{buffer, header_mutation};

use crate::support;

support! {
    TABLES;

    message buffer::v3::Buffer as "envoy.extensions.filters.http.buffer.v3.Buffer" {
        max_request_bytes: supported,
    }

    message buffer::v3::BufferPerRoute as "envoy.extensions.filters.http.buffer.v3.BufferPerRoute" {}
    oneof r#override: buffer::v3::buffer_per_route::Override {
        Disabled => disabled: supported,
        Buffer => buffer: supported,
    }

    message header_mutation::v3::HeaderMutation
        as "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation" {
        mutations: supported,
        most_specific_header_mutations_wins: supported,
    }

    message header_mutation::v3::HeaderMutationPerRoute
        as "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute" {
        mutations: supported,
    }

    message header_mutation::v3::Mutations as "envoy.extensions.filters.http.header_mutation.v3.Mutations" {
        request_mutations: supported,
        query_parameter_mutations: supported,
        response_mutations: supported,
        response_trailers_mutations: supported,
        request_trailers_mutations: supported,
    }

    message rules::HeaderMutation as "envoy.config.common.mutation_rules.v3.HeaderMutation" {}
    oneof action: rules::header_mutation::Action {
        Remove => remove: supported,
        Append => append: supported,
        RemoveOnMatch => remove_on_match: supported,
    }

    message rules::header_mutation::RemoveOnMatch
        as "envoy.config.common.mutation_rules.v3.HeaderMutation.RemoveOnMatch" {
        key_matcher: supported,
    }

    message core::KeyValueMutation as "envoy.config.core.v3.KeyValueMutation" {
        append: supported,
        remove: supported,
    }

    message core::KeyValueAppend as "envoy.config.core.v3.KeyValueAppend" {
        record: supported,
        entry: rejected("it is deprecated: write record"),
        action: supported,
    }

    message core::KeyValuePair as "envoy.config.core.v3.KeyValuePair" {
        key: supported,
        value: supported,
    }
}
