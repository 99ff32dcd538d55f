//! Looking a directory over without serving it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::compile::Snapshot;
use crate::model::{MeshSettings, build};
use crate::objects::Fault;
use crate::source::directory;
use crate::validate::Validator;

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// How many objects were read.
    pub objects: usize,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What was read and has no effect, and references that lead nowhere.
    pub notes: Vec<Fault>,
    /// Resources that the proxy would refuse.
    pub withheld: Vec<String>,
}

impl Findings {
    /// Whether all of it would be served.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.withheld.is_empty()
    }
}

/// Reads a directory and compiles what it says for every workload in it.
///
/// # Errors
/// The directory cannot be read.
pub fn check(directory: &Path, settings: &MeshSettings, validator: Arc<dyn Validator>) -> io::Result<Findings> {
    let set = directory::read_once(directory)?;
    let mesh = Arc::new(build(&set.objects, settings));
    let snapshot = Snapshot::new(Arc::clone(&mesh), validator, None);
    let mut withheld: Vec<String> = snapshot.withheld().iter().map(ToString::to_string).collect();
    for workload in mesh.workloads.values() {
        let (_, refused) = snapshot.sidecar_view(workload);
        withheld.extend(
            refused
                .iter()
                .map(|refused| format!("Pod {}: {refused}", workload.identity.pod)),
        );
    }
    Ok(Findings {
        objects: set.objects.len(),
        faults: set.faults,
        notes: set.notes.into_iter().chain(mesh.notes.iter().cloned()).collect(),
        withheld,
    })
}
