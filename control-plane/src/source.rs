//! Where objects come from: a directory of files today, the Kubernetes API later. A
//! source hands over complete sets; what a set is made of is the source's business.

pub mod directory;

use crate::objects::{Fault, LocatedObject};

/// Everything a source has at one time.
#[derive(Clone, Debug, Default)]
pub struct ObjectSet {
    /// The objects, by id; each id once.
    pub objects: Vec<LocatedObject>,
    /// What could not be read. The last good version of it is among `objects`.
    pub faults: Vec<Fault>,
    /// What was read and has no effect.
    pub notes: Vec<Fault>,
}
