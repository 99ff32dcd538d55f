//! What the texts of a directory's files mean over time, without reading any.
//!
//! ```text
//!            text parses                     text does not parse
//!   new ───────────────▶ good ◀───────────▶ good kept, faults told
//!                         │  ▲
//!          empty or gone  │  │ a text again
//!                         ▼  │
//!                      vanishing ── still so after GRACE ──▶ forgotten
//! ```
//! Editors save by truncating and writing, or by moving a new file over the old one. In
//! between the file is empty or missing: that is no wish to remove what it said.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::objects::parse::{FileObjects, parse_file};
use crate::objects::{Fault, LocatedObject, ObjectId};
use crate::source::ObjectSet;

/// How long a file must be empty or missing before its objects are.
pub const GRACE: Duration = Duration::from_millis(100);

/// Texts by path; the error of a file that cannot be read.
pub type Listing = BTreeMap<String, Result<String, String>>;

/// What an observation led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Whether the object set differs from before.
    pub changed: bool,
    /// When to look again even if nothing is reported.
    pub recheck_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct File {
    /// What was found last.
    last: Option<Result<String, String>>,
    /// What was understood last.
    good: FileObjects,
    /// What is wrong with what was found last.
    faults: Vec<Fault>,
    /// Since when it is empty or missing, while its objects are still in force.
    vanishing: Option<Instant>,
}

/// Every file known, and the last good objects of each.
#[derive(Debug, Default)]
pub struct Files {
    files: BTreeMap<String, File>,
    directory_fault: Option<Fault>,
}

impl Files {
    /// Takes in the state of the directory.
    pub fn observe(&mut self, listing: Listing, now: Instant) -> Observed {
        let mut changed = self.directory_fault.take().is_some();
        let mut recheck_at: Option<Instant> = None;
        self.files.retain(|name, file| {
            if listing.contains_key(name) {
                return true;
            }
            match file.vanish(now) {
                Vanish::At(deadline) => {
                    recheck_at = Some(recheck_at.map_or(deadline, |earlier| earlier.min(deadline)));
                    true
                }
                Vanish::Now => {
                    changed = true;
                    false
                }
            }
        });
        for (name, found) in listing {
            let file = self.files.entry(name.clone()).or_default();
            let is_blank = matches!(&found, Ok(text) if text.trim().is_empty());
            if is_blank && !file.good.objects.is_empty() {
                if let Vanish::At(deadline) = file.vanish(now) {
                    recheck_at = Some(recheck_at.map_or(deadline, |earlier| earlier.min(deadline)));
                    continue;
                }
            } else {
                file.vanishing = None;
            }
            if file.last.as_ref() != Some(&found) {
                file.read(&name, found);
                changed = true;
            }
        }
        Observed { changed, recheck_at }
    }

    /// Takes note that the directory itself cannot be listed.
    pub fn directory_fault(&mut self, directory: &Path, error: &std::io::Error) -> Observed {
        let fault = Fault {
            file: directory.display().to_string(),
            line: 0,
            object: String::new(),
            path: String::new(),
            reason: error.to_string(),
        };
        let changed = self.directory_fault.as_ref() != Some(&fault);
        self.directory_fault = Some(fault);
        Observed {
            changed,
            recheck_at: None,
        }
    }

    /// Everything in force. Of two objects with one name the one in the first file, by
    /// path, is; the other is a fault.
    pub fn objects(&self) -> ObjectSet {
        let mut set = ObjectSet::default();
        set.faults.extend(self.directory_fault.clone());
        let mut objects: BTreeMap<ObjectId, LocatedObject> = BTreeMap::new();
        for file in self.files.values() {
            set.faults.extend_from_slice(&file.faults);
            set.notes.extend_from_slice(&file.good.notes);
            for object in &file.good.objects {
                match objects.entry(object.id.clone()) {
                    Entry::Vacant(place) => {
                        place.insert(object.clone());
                    }
                    Entry::Occupied(first) => {
                        let first = &first.get().origin;
                        let reason = format!("already defined at {}:{}", first.file, first.line(""));
                        set.faults.push(Fault::of_field(object, "", reason));
                    }
                }
            }
        }
        set.objects = objects.into_values().collect();
        set
    }
}

enum Vanish {
    At(Instant),
    Now,
}

impl File {
    /// Takes in what the file says now.
    fn read(&mut self, name: &str, found: Result<String, String>) {
        let parsed = match &found {
            Ok(text) => parse_file(text, name),
            Err(error) => Err(vec![Fault {
                file: name.to_owned(),
                line: 0,
                object: String::new(),
                path: String::new(),
                reason: error.clone(),
            }]),
        };
        match parsed {
            Ok(objects) => {
                self.good = objects;
                self.faults.clear();
            }
            Err(faults) => self.faults = faults,
        }
        self.last = Some(found);
    }

    fn vanish(&mut self, now: Instant) -> Vanish {
        if self.good.objects.is_empty() {
            return Vanish::Now;
        }
        let since = *self.vanishing.get_or_insert(now);
        let deadline = since + GRACE;
        if now >= deadline {
            Vanish::Now
        } else {
            Vanish::At(deadline)
        }
    }
}
