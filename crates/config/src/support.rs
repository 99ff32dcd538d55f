//! What is supported, field by field, of every message the proxy reads.
//!
//! Each message has one table, made by the `support!` macro from one list. The same list makes the check that runs
//! over a parsed message, and it destructures the message without `..`: a field that a new version of the Envoy API
//! brings does not compile until someone has said what becomes of it. docs/config.md is printed from [`tables`].

use crate::context::Context;

mod access_log;
mod cluster;
mod core;
mod endpoint;
mod http_connection_manager;
mod http_filters;
mod is_set;
mod listener;
mod listener_filters;
mod load_balancing;
mod protocol;
mod route;
mod values;

#[doc(hidden)]
pub use is_set::IsSet;

/// Why fields are refused that are read in full and wait for the part of the proxy that acts on them. In the macro they
/// are `not_yet`.
pub const NOT_YET: &str = "the proxy does not act on it yet";

// Reasons that several fields share.
const NO_MORE_STATS: &str = "there are no such statistics";
const NO_RUNTIME: &str = "no runtime value is read for this field: the configured one applies";
const NO_CONFIG_DISCOVERY: &str = "extensions cannot be discovered by themselves (ECDS): write typed_config";
const NO_EXTENSION: &str = "there is no such extension";
const DEPRECATED_CORS: &str = "configure the filter envoy.filters.http.cors (typed_per_filter_config)";
const NO_RATE_LIMITS: &str = "there is no rate limit filter";
const NO_ROUTE_SPECIFIERS: &str = "routes are static within a table";
const NOT_IN_ENVOY: &str = "Envoy does not act on it either";
const NO_SPANS: &str = "spans are not exported";
const NO_FILTER_STATE: &str = "there is no filter state to hash";
const NO_NAMED_PORT: &str = "write the port as a number (port_value)";
const NO_SOCKET_OPTIONS: &str = "raw socket options are not set";
const NO_TYPED_METADATA: &str = "no part of the proxy reads typed metadata";

/// What becomes of a field when it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It means what it means to Envoy. `case` names the differential case that shows it, once there is one.
    Supported {
        /// Name of the case in the differential corpus.
        case: Option<&'static str>,
    },
    /// It is accepted and changes nothing.
    WithoutEffect {
        /// Why nothing changes.
        why: &'static str,
    },
    /// A resource that sets it is refused.
    Rejected {
        /// Why, as the caller is told.
        why: &'static str,
    },
}

/// A field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    raw_name: &'static str,
    /// What becomes of it.
    pub support: Support,
}

impl Field {
    #[doc(hidden)]
    pub const fn new(raw_name: &'static str, support: Support) -> Self {
        Self { raw_name, support }
    }

    /// The name in the proto file.
    pub fn name(&self) -> &'static str {
        // Rust spells a field called like a keyword `r#match`, and `Self` cannot be spelt so.
        let name = self.raw_name;
        if name == "self_" {
            "self"
        } else {
            name.strip_prefix("r#").unwrap_or(name)
        }
    }
}

/// The table of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Full name of the message, such as `envoy.config.cluster.v3.Cluster`.
    pub message: &'static str,
    /// Every field of the message, once, members of a `oneof` included.
    pub fields: &'static [Field],
}

/// A message with a table.
pub trait Supported {
    /// The table.
    const TABLE: &'static Table;

    /// Rejects or notes the set fields that are not supported.
    fn check_fields(&self, context: &mut Context<'_>);
}

/// All tables, by message name.
pub fn tables() -> Vec<&'static Table> {
    let files = [
        access_log::TABLES,
        crate::bootstrap::TABLES,
        cluster::TABLES,
        core::TABLES,
        endpoint::TABLES,
        http_connection_manager::TABLES,
        http_filters::TABLES,
        listener::TABLES,
        listener_filters::TABLES,
        load_balancing::TABLES,
        protocol::TABLES,
        route::TABLES,
        values::TABLES,
    ];
    let mut tables: Vec<_> = files.into_iter().flatten().copied().collect();
    tables.sort_unstable_by_key(|table| table.message);
    tables
}

/// Says what becomes of each field of messages; see the module.
///
/// ```text
/// support! {
///     TABLES;
///
///     message pb::Thing as "envoy.config.thing.v3.Thing" {
///         name: supported,
///         speed: without_effect("there is only one speed"),
///     }
///     oneof colour: pb::thing::Colour {
///         Red => red: supported,
///         Other => other: rejected("only red is painted"),
///     }
///
///     message pb::Next as "envoy.config.thing.v3.Next" {}
/// }
/// ```
#[macro_export]
macro_rules! support {
    (
        $tables:ident;
        $(
            message $message:path as $name:literal { $( $fields:tt )* }
            $( oneof $one:ident : $oneof:path { $( $members:tt )* } )*
        )*
    ) => {
        /// The tables of this file.
        pub(super) const $tables: &[&$crate::support::Table] = &[
            $( <$message as $crate::support::Supported>::TABLE, )*
        ];
        /// The checks of this file, on encoded messages.
        #[cfg(test)]
        pub(super) const CHECKS: &[$crate::support::EncodedCheck] = &[
            $( |bytes, context| {
                let message: $message = xds_api::prost::Message::decode(bytes).expect("the test encodes messages");
                $crate::support::Supported::check_fields(&message, context);
                <$message as $crate::support::Supported>::TABLE
            }, )*
        ];
        $( $crate::support! {
            $message as $name { $( $fields )* }
            $( oneof $one : $oneof { $( $members )* } )*
        } )*
    };

    (
        $message:path as $name:literal {
            $( $field:ident : $kind:ident $( ( $why:expr ) )? ),* $(,)?
        }
        $( oneof $one:ident : $oneof:path {
            $( $variant:ident => $member:ident : $member_kind:ident $( ( $member_why:expr ) )? ),* $(,)?
        } )*
    ) => {
        impl $crate::support::Supported for $message {
            const TABLE: &'static $crate::support::Table = &$crate::support::Table {
                message: $name,
                fields: &[
                    $( $crate::support::Field::new(
                        stringify!($field),
                        $crate::support!(@entry $kind $( $why )?),
                    ), )*
                    $( $( $crate::support::Field::new(
                        stringify!($member),
                        $crate::support!(@entry $member_kind $( $member_why )?),
                    ), )* )*
                ],
            };

            #[allow(unused_variables, deprecated, clippy::match_single_binding)]
            fn check_fields(&self, context: &mut $crate::Context<'_>) {
                let $message { $( $field, )* $( $one, )* } = self;
                $( $crate::support!(@check context $field $kind $( $why )?); )*
                $( {
                    use $oneof as Oneof;
                    match $one {
                        $( Some(Oneof::$variant(_)) => {
                            $crate::support!(@member context $member $member_kind $( $member_why )?);
                        } )*
                        None => {}
                    }
                } )*
            }
        }
    };

    (@entry supported) => { $crate::support::Support::Supported { case: None } };
    (@entry supported $case:expr) => { $crate::support::Support::Supported { case: Some($case) } };
    (@entry without_effect $why:expr) => { $crate::support::Support::WithoutEffect { why: $why } };
    (@entry not_yet) => { $crate::support::Support::Rejected { why: $crate::support::NOT_YET } };
    (@entry rejected $why:expr) => { $crate::support::Support::Rejected { why: $why } };

    (@check $context:ident $field:ident supported $( $case:expr )?) => {};
    (@check $context:ident $field:ident $kind:ident $( $why:expr )?) => {
        if $crate::support::IsSet::is_set($field) {
            $crate::support!(@member $context $field $kind $( $why )?);
        }
    };

    (@member $context:ident $field:ident supported $( $case:expr )?) => {};
    (@member $context:ident $field:ident not_yet) => {
        $context.not_yet(stringify!($field));
    };
    (@member $context:ident $field:ident without_effect $why:expr) => {
        $context.without_effect(stringify!($field), $why);
    };
    (@member $context:ident $field:ident rejected $why:expr) => {
        $context.reject_field(stringify!($field), format!("is not supported: {}", $why));
    };
}

// The same macro under the path of this module.
#[allow(unused_imports)]
pub(crate) use support;

/// Decodes a message, checks it, and says whose table that was.
#[cfg(test)]
pub(crate) type EncodedCheck = fn(&[u8], &mut Context<'_>) -> &'static Table;

#[cfg(test)]
mod tests;
