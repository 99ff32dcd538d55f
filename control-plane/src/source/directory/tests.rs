use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::files::{Files, GRACE, Listing, Observed};
use super::{Events, ObjectSet, QUIET, read_once};
use notify::EventKind;
use notify::event::ModifyKind;

/// Longer than any machine needs; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(20);

fn service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n")
}

fn listing(files: &[(&str, &str)]) -> Listing {
    files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), Ok((*text).to_owned())))
        .collect()
}

fn names(set: &ObjectSet) -> Vec<&str> {
    set.objects.iter().map(|object| &*object.id.name).collect()
}

#[test]
fn a_bad_file_is_named_and_its_last_good_objects_stay() {
    let now = Instant::now();
    let mut files = Files::default();
    files.observe(listing(&[("a.yaml", &service("a")), ("b.yaml", &service("b"))]), now);
    let broken = service("a").replace("metadata", "metdata");
    let observed = files.observe(listing(&[("a.yaml", &broken), ("b.yaml", &service("c"))]), now);
    assert!(observed.changed);
    let set = files.objects();
    assert_eq!(names(&set), ["a", "c"]);
    assert_eq!(set.faults[0].file, "a.yaml");
    assert!(set.faults[0].line > 0);

    files.observe(listing(&[("a.yaml", &service("d")), ("b.yaml", &service("c"))]), now);
    assert!(files.objects().faults.is_empty());
    assert_eq!(names(&files.objects()), ["c", "d"]);
}

#[test]
fn a_file_that_was_never_good_holds_nothing_up() {
    let mut files = Files::default();
    files.observe(listing(&[("a.yaml", "{"), ("b.yaml", &service("b"))]), Instant::now());
    assert_eq!(names(&files.objects()), ["b"]);
    assert_eq!(files.objects().faults.len(), 1);
}

#[test]
fn an_emptied_file_keeps_its_objects_until_the_grace_is_over() {
    let start = Instant::now();
    let mut files = Files::default();
    files.observe(listing(&[("a.yaml", &service("a"))]), start);
    let truncated = files.observe(listing(&[("a.yaml", "\n")]), start);
    let expected = Observed {
        changed: false,
        recheck_at: Some(start + GRACE),
    };
    assert_eq!(truncated, expected);
    assert_eq!(names(&files.objects()), ["a"]);
    // The writer was only slow.
    assert!(
        files
            .observe(listing(&[("a.yaml", &service("b"))]), start + GRACE)
            .changed
    );
    assert_eq!(names(&files.objects()), ["b"]);
    // Emptied for good.
    files.observe(listing(&[("a.yaml", "")]), start + GRACE);
    assert!(files.observe(listing(&[("a.yaml", "")]), start + 2 * GRACE).changed);
    assert!(files.objects().objects.is_empty());
}

#[test]
fn a_missing_file_keeps_its_objects_until_the_grace_is_over() {
    let start = Instant::now();
    let mut files = Files::default();
    files.observe(listing(&[("a.yaml", &service("a"))]), start);
    assert_eq!(files.observe(Listing::new(), start).recheck_at, Some(start + GRACE));
    assert_eq!(names(&files.objects()), ["a"]);
    // Back in time, and gone again: a new grace.
    files.observe(listing(&[("a.yaml", &service("a"))]), start + GRACE / 2);
    assert!(!files.observe(Listing::new(), start + GRACE).changed);
    assert!(files.observe(Listing::new(), start + 2 * GRACE).changed);
    assert!(files.objects().objects.is_empty());
}

#[test]
fn an_unreadable_file_keeps_its_objects_and_says_why() {
    let mut files = Files::default();
    files.observe(listing(&[("a.yaml", &service("a"))]), Instant::now());
    let unreadable = Listing::from([("a.yaml".to_owned(), Err("Permission denied".to_owned()))]);
    files.observe(unreadable, Instant::now());
    assert_eq!(names(&files.objects()), ["a"]);
    assert_eq!(files.objects().faults[0].to_string(), "a.yaml: Permission denied");
}

#[test]
fn the_first_of_two_objects_with_one_name_is_in_force() {
    let mut files = Files::default();
    files.observe(
        listing(&[("a.yaml", &service("x")), ("b.yaml", &service("x"))]),
        Instant::now(),
    );
    let set = files.objects();
    assert_eq!(&*set.objects[0].origin.file, "a.yaml");
    assert_eq!(
        set.faults[0].to_string(),
        "b.yaml:1: Service default/x: already defined at a.yaml:1"
    );
}

/// A directory that is removed with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("remora-source-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn watching(directory: &Path) -> watch::Receiver<Arc<ObjectSet>> {
    super::watch(directory.to_owned()).await.unwrap()
}

/// Waits until the names are these; fails on any set in between that `holds` not.
async fn becomes(
    receiver: &mut watch::Receiver<Arc<ObjectSet>>,
    expected: &[&str],
    holds: impl Fn(&ObjectSet) -> bool,
) {
    let reached = tokio::time::timeout(PATIENCE, async {
        loop {
            {
                let set = receiver.borrow_and_update();
                assert!(holds(&set), "in between: {:?} {:?}", names(&set), set.faults);
                if names(&set) == expected {
                    return;
                }
            }
            receiver.changed().await.unwrap();
        }
    });
    let last = reached.await;
    assert!(last.is_ok(), "still {:?}", names(&receiver.borrow()));
}

#[tokio::test]
async fn files_are_read_with_subdirectories_and_without_editors_own() {
    let directory = Directory::new();
    fs::create_dir_all(directory.path("team/.git")).unwrap();
    directory.write("a.yaml", &service("a"));
    directory.write("team/b.yml", &service("b"));
    directory.write(
        "c.json",
        r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c"}}"#,
    );
    for other in [
        ".a.yaml.swp",
        "a.yaml~",
        "4913",
        "notes.txt",
        ".hidden.yaml",
        "team/.git/x.yaml",
    ] {
        directory.write(other, &service("wrong"));
    }
    assert_eq!(names(&read_once(&directory.0).unwrap()), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_save_in_place_by_truncating_and_writing_is_seen() {
    let directory = Directory::new();
    directory.write("a.yaml", &service("a"));
    let mut receiver = watching(&directory.0).await;
    for name in ["b", "c", "d"] {
        directory.write("a.yaml", &service(name));
        becomes(&mut receiver, &[name], |set| {
            set.objects.len() == 1 && set.faults.is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn a_save_by_writing_a_new_file_over_the_old_name_is_seen() {
    let directory = Directory::new();
    directory.write("a.yaml", &service("a"));
    let mut receiver = watching(&directory.0).await;
    for name in ["b", "c", "d"] {
        directory.write(".a.yaml.tmp", &service(name));
        fs::rename(directory.path(".a.yaml.tmp"), directory.path("a.yaml")).unwrap();
        becomes(&mut receiver, &[name], |set| {
            set.objects.len() == 1 && set.faults.is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn a_save_by_moving_the_old_file_away_and_writing_a_new_one_is_seen() {
    let directory = Directory::new();
    directory.write("a.yaml", &service("a"));
    let mut receiver = watching(&directory.0).await;
    for name in ["b", "c", "d"] {
        fs::rename(directory.path("a.yaml"), directory.path("a.yaml~")).unwrap();
        directory.write("a.yaml", &service(name));
        fs::remove_file(directory.path("a.yaml~")).unwrap();
        becomes(&mut receiver, &[name], |set| {
            set.objects.len() == 1 && set.faults.is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn files_added_and_removed_are_seen_also_in_new_subdirectories() {
    let directory = Directory::new();
    directory.write("a.yaml", &service("a"));
    let mut receiver = watching(&directory.0).await;
    fs::create_dir(directory.path("more")).unwrap();
    directory.write("more/b.yaml", &service("b"));
    becomes(&mut receiver, &["a", "b"], |_| true).await;
    directory.write("more/b.yaml", &service("c"));
    becomes(&mut receiver, &["a", "c"], |_| true).await;
    fs::remove_file(directory.path("a.yaml")).unwrap();
    becomes(&mut receiver, &["c"], |_| true).await;
}

#[tokio::test]
async fn a_config_map_volumes_swap_of_links_is_seen() {
    let directory = Directory::new();
    fs::create_dir(directory.path("..v1")).unwrap();
    directory.write("..v1/a.yaml", &service("a"));
    std::os::unix::fs::symlink("..v1", directory.path("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.yaml", directory.path("a.yaml")).unwrap();
    let mut receiver = watching(&directory.0).await;
    assert_eq!(names(&receiver.borrow()), ["a"]);
    fs::create_dir(directory.path("..v2")).unwrap();
    directory.write("..v2/a.yaml", &service("b"));
    std::os::unix::fs::symlink("..v2", directory.path("..data_tmp")).unwrap();
    fs::rename(directory.path("..data_tmp"), directory.path("..data")).unwrap();
    becomes(&mut receiver, &["b"], |set| set.objects.len() == 1).await;
}

#[tokio::test]
async fn a_directory_that_vanishes_keeps_its_objects_and_is_watched_again_when_back() {
    let directory = Directory::new();
    directory.write("a.yaml", &service("a"));
    let mut receiver = watching(&directory.0).await;
    let away = directory.0.with_extension("away");
    fs::rename(&directory.0, &away).unwrap();
    becomes(&mut receiver, &["a"], |set| names(set) == ["a"]).await;
    let told = tokio::time::timeout(PATIENCE, receiver.wait_for(|set| !set.faults.is_empty())).await;
    assert_eq!(names(&told.unwrap().unwrap()), ["a"]);
    fs::create_dir(&directory.0).unwrap();
    directory.write("b.yaml", &service("b"));
    becomes(&mut receiver, &["b"], |_| true).await;
    directory.write("b.yaml", &service("c"));
    becomes(&mut receiver, &["c"], |_| true).await;
    fs::remove_dir_all(away).unwrap();
}

#[tokio::test]
async fn a_change_is_not_lost_when_waiting_for_its_end_is_given_up() {
    let events = Events::default();
    events.record(&notify::Event::new(EventKind::Modify(ModifyKind::Name(
        notify::event::RenameMode::To,
    ))));
    // Given up within the quiet time, as by the regular check of the directory.
    let given_up = tokio::time::timeout(QUIET / 3, events.next()).await;
    assert!(given_up.is_err(), "the change was not waited out");
    let again = tokio::time::timeout(Duration::from_secs(1), events.next()).await;
    assert!(again.is_ok(), "the change is forgotten");
    let idle = tokio::time::timeout(Duration::from_millis(100), events.next()).await;
    assert!(idle.is_err(), "one change is told of twice");
}
