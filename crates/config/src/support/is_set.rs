//! Whether a field of a decoded message was set.

use std::collections::HashMap;

use xds_api::google::protobuf::BoolValue;
use xds_api::prost;

/// Set, for the purpose of "is this field used": a scalar that differs from its default, a message that is there, a
/// list or map that is not empty.
pub trait IsSet {
    /// Whether it is.
    fn is_set(&self) -> bool;
}

impl<T: prost::Message + 'static> IsSet for Option<T> {
    fn is_set(&self) -> bool {
        match self {
            // Every boolean wrapper among the unsupported fields defaults to false: writing the default out is no use.
            Some(message) => (message as &dyn std::any::Any)
                .downcast_ref::<BoolValue>()
                .is_none_or(|flag| flag.value),
            None => false,
        }
    }
}

impl<T> IsSet for Vec<T> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

impl<K, V> IsSet for HashMap<K, V> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

impl IsSet for String {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

macro_rules! scalar {
    ($($scalar:ty),*) => { $(
        impl IsSet for $scalar {
            fn is_set(&self) -> bool {
                *self != <$scalar>::default()
            }
        }
    )* };
}

scalar!(bool, i32, i64, u32, u64, f64);
