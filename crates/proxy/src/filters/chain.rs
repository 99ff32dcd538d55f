//! A chain of HTTP filters compiled for execution.

use config::ExtensionConfig;
use config::http_connection_manager::HttpFilter as Configuration;

use super::http_filter::{BuildContext, Configured, HttpFilter};
use super::istio_alpn::AlpnOverrides;
use super::per_route::FilterId;
use super::router::Router;

/// The filters before the router. Which of them want what is known in advance, one bit each.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    filters: Box<[Entry]>,
    /// Off unless a route turns them on.
    disabled: u64,
    request_head: u64,
    request_data: u64,
    request_trailers: u64,
    response_head: u64,
    response_data: u64,
    response_trailers: u64,
    finish: u64,
    /// Those that say what TLS with an endpoint offers.
    alpn: u64,
    /// The router's settings.
    pub(crate) router: Router,
}

#[derive(Debug)]
struct Entry {
    id: FilterId,
    filter: Box<dyn HttpFilter>,
}

/// A part of an exchange that filters look at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    RequestHead,
    RequestData,
    RequestTrailers,
    ResponseHead,
    ResponseData,
    ResponseTrailers,
    Finish,
}

impl Chain {
    /// Compiles a chain; what has no effect is left out.
    pub(crate) fn compile(filters: &[Configuration], context: &BuildContext<'_>) -> Chain {
        let mut chain = Chain::default();
        let mut entries: Vec<Entry> = Vec::new();
        for configured in filters {
            let Some(settings) = &configured.config else {
                continue;
            };
            if let Some(router) = settings.get::<Router>() {
                chain.router = router.clone();
            }
            let Some(filter) = build(&**settings, context) else {
                continue;
            };
            // `config` accepts no longer chain.
            let Some(bit) = 1u64.checked_shl(entries.len() as u32) else {
                break;
            };
            let wants = filter.interests();
            for (mask, wanted) in [
                (&mut chain.disabled, configured.disabled),
                (&mut chain.request_head, wants.request_head),
                (&mut chain.request_data, wants.request_data),
                (&mut chain.request_trailers, wants.request_trailers),
                (&mut chain.response_head, wants.response_head),
                (&mut chain.response_data, wants.response_data),
                (&mut chain.response_trailers, wants.response_trailers),
                (&mut chain.finish, wants.finish),
                (&mut chain.alpn, filter.alpn_overrides().is_some()),
            ] {
                if wanted {
                    *mask |= bit;
                }
            }
            entries.push(Entry {
                id: FilterId::new(&configured.name),
                filter,
            });
        }
        chain.filters = entries.into();
        chain
    }

    /// Whether there is nothing but the router.
    pub(crate) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Those that want `part`, one bit each.
    pub(crate) fn wanting(&self, part: Part) -> u64 {
        match part {
            Part::RequestHead => self.request_head,
            Part::RequestData => self.request_data,
            Part::RequestTrailers => self.request_trailers,
            Part::ResponseHead => self.response_head,
            Part::ResponseData => self.response_data,
            Part::ResponseTrailers => self.response_trailers,
            Part::Finish => self.finish,
        }
    }

    /// Those that are off unless a route turns them on.
    pub(crate) fn disabled(&self) -> u64 {
        self.disabled
    }

    /// What TLS with an endpoint offers for a request for which some filters are off; the last filter that says it counts.
    pub(crate) fn alpn_overrides(&self, skipped: u64) -> Option<&AlpnOverrides> {
        let position = (self.alpn & !skipped).checked_ilog2()?;
        self.filter(position as usize).alpn_overrides()
    }

    pub(crate) fn filter(&self, position: usize) -> &dyn HttpFilter {
        &*self.filters[position].filter
    }

    pub(crate) fn id(&self, position: usize) -> &FilterId {
        &self.filters[position].id
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &FilterId> {
        self.filters.iter().map(|entry| &entry.id)
    }
}

fn build(settings: &dyn ExtensionConfig, context: &BuildContext<'_>) -> Option<Box<dyn HttpFilter>> {
    settings.get::<Configured>()?.build(context)
}

/// The positions in a mask, lowest first.
pub(crate) fn ascending(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let position = mask.trailing_zeros();
        mask &= mask.checked_sub(1)?;
        Some(position as usize)
    })
}

/// The positions in a mask, highest first.
pub(crate) fn descending(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let position = mask.checked_ilog2()?;
        mask &= !(1 << position);
        Some(position as usize)
    })
}

/// The positions below `end`.
pub(crate) fn below(end: usize) -> u64 {
    1u64.checked_shl(end as u32).map_or(u64::MAX, |bit| bit - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_walked_from_either_end() {
        assert_eq!(ascending(0b1010_0001).collect::<Vec<_>>(), [0, 5, 7]);
        assert_eq!(descending(0b1010_0001).collect::<Vec<_>>(), [7, 5, 0]);
        assert_eq!(ascending(0).count() + descending(0).count(), 0);
        assert_eq!(ascending(u64::MAX).count(), 64);
        assert_eq!((below(0), below(3), below(64)), (0, 0b111, u64::MAX));
    }
}
