//! Some of a priority's endpoints, as a policy chooses among them.

use crate::hosts::Host;

/// Some of a priority's endpoints.
#[derive(Debug)]
pub(super) struct Source {
    /// Which ones; `None` for all, which is the common case and costs no memory.
    indices: Option<Box<[u32]>>,
    /// Their weights, where these are not those of the configuration: some are in slow start.
    scaled: Option<Box<[f64]>>,
    equal_weights: bool,
}

impl Source {
    /// The endpoints at `positions`; `factors` lessens their weights where some are in slow start.
    pub(super) fn new(hosts: &[Host], positions: Vec<u32>, factors: Option<&[f64]>) -> Self {
        let weight = |position: &u32| f64::from(hosts[*position as usize].weight);
        let scaled: Option<Box<[f64]>> = factors.map(|factors| {
            positions
                .iter()
                .map(|position| weight(position) * factors[*position as usize])
                .collect()
        });
        let equal_weights = match &scaled {
            Some(weights) => weights.windows(2).all(|pair| pair[0] == pair[1]),
            None => positions.windows(2).all(|pair| weight(&pair[0]) == weight(&pair[1])),
        };
        let everything = positions.len() == hosts.len();
        Self {
            indices: (!everything).then(|| positions.into()),
            scaled: scaled.filter(|_| !equal_weights),
            equal_weights,
        }
    }

    pub(super) fn len(&self, hosts: &[Host]) -> u32 {
        self.indices.as_ref().map_or(hosts.len(), |indices| indices.len()) as u32
    }

    pub(super) fn host<'a>(&self, hosts: &'a [Host], index: u32) -> &'a Host {
        let index = self.indices.as_ref().map_or(index, |indices| indices[index as usize]);
        &hosts[index as usize]
    }

    pub(super) fn weight(&self, hosts: &[Host], index: u32) -> f64 {
        match &self.scaled {
            Some(weights) => weights[index as usize],
            None => f64::from(self.host(hosts, index).weight),
        }
    }

    pub(super) fn equal_weights(&self) -> bool {
        self.equal_weights
    }
}
