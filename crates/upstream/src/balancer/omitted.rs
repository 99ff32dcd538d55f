//! Which endpoints a retry avoids for what is configured of them.

use std::sync::Arc;

use config::metadata::{Metadata, Struct, Value};

use super::SubsetCriteria;

/// Endpoints that a retry avoids for what is configured of them (retry host predicates `omit_canary_hosts` and
/// `omit_host_metadata`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Omitted<'a> {
    /// Those whose `envoy.lb` metadata says that they are canaries.
    pub canaries: bool,
    /// Those whose `envoy.lb` metadata has all of one of these.
    pub metadata: &'a [Arc<Struct>],
}

impl Omitted<'_> {
    pub(super) fn is_empty(&self) -> bool {
        !self.canaries && self.metadata.is_empty()
    }

    /// Whether an endpoint with this metadata is to be avoided.
    pub(super) fn includes(&self, metadata: &Metadata) -> bool {
        let Some(fields) = metadata.filter(SubsetCriteria::METADATA) else {
            return false;
        };
        let has_all = |wanted: &Arc<Struct>| wanted.iter().all(|(key, value)| fields.get(key) == Some(value));
        (self.canaries && fields.get("canary") == Some(&Value::Bool(true))) || self.metadata.iter().any(has_all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_avoids_endpoints_by_their_metadata() {
        let metadata = |fields: &[(&str, Value)]| Metadata {
            filter_metadata: [(
                SubsetCriteria::METADATA.into(),
                fields
                    .iter()
                    .map(|(key, value)| ((*key).into(), value.clone()))
                    .collect(),
            )]
            .into(),
        };
        let (canary, stage) = (("canary", Value::Bool(true)), ("stage", Value::String("old".into())));
        let old = [Arc::new(
            metadata(std::slice::from_ref(&stage)).filter_metadata[SubsetCriteria::METADATA].clone(),
        )];
        let canaries = Omitted {
            canaries: true,
            metadata: &[],
        };
        let olds = Omitted {
            canaries: false,
            metadata: &old,
        };
        assert!(canaries.includes(&metadata(std::slice::from_ref(&canary))));
        assert!(!canaries.includes(&metadata(&[("canary", Value::Bool(false))])));
        assert!(olds.includes(&metadata(&[stage, canary.clone()])));
        assert!(!olds.includes(&metadata(&[canary])));
        assert!(!olds.includes(Metadata::EMPTY) && !canaries.includes(Metadata::EMPTY));
    }
}
