use super::*;

const PATIENCE: Duration = Duration::from_secs(10);
const NEVER: FlushSettings = FlushSettings {
    interval: Duration::from_secs(3600),
    min_size: 64 * 1024,
};

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        let name = String::from_utf8(crate::request_id::generate().to_vec()).unwrap();
        let path = std::env::temp_dir().join(format!("remora-access-log-{name}"));
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn content(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn entries_of_all_workers_arrive_whole_and_are_counted() {
    let directory = Directory::new();
    let path = directory.0.join("access.log");
    let registry = Registry::new(4);
    let writer = Writer::new(&registry, NEVER).unwrap();
    let sink = writer.file(&path).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let sink = &sink;
            scope.spawn(move || {
                (0..1000).for_each(|entry| sink.write(Shard::worker(worker), format!("{worker} {entry}\n").as_bytes()));
            });
        }
    });
    assert!(writer.flush(PATIENCE));
    let text = content(&path);
    for worker in 0..4 {
        let of_worker: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with(&format!("{worker} ")))
            .collect();
        let expected: Vec<String> = (0..1000).map(|entry| format!("{worker} {entry}")).collect();
        assert_eq!(of_worker, expected);
    }
    let stats = registry.block(Scope::Process("filesystem."), &filesystem::TABLE);
    assert_eq!(stats.counter(filesystem::WRITE_BUFFERED), 4000);
    assert_eq!(stats.gauge(filesystem::WRITE_TOTAL_BUFFERED), 0);
    assert!(stats.counter(filesystem::WRITE_COMPLETED) >= 1);
}

#[test]
fn the_same_file_is_one_sink_and_is_closed_when_nobody_logs_to_it() {
    let directory = Directory::new();
    let path = directory.0.join("access.log");
    let writer = Writer::new(&Registry::new(1), NEVER).unwrap();
    let first = writer.file(&path).unwrap();
    assert!(Arc::ptr_eq(&first, &writer.file(&path).unwrap()));
    assert!(!Arc::ptr_eq(&writer.stdout(), &writer.stderr()));
    first.write(Shard::CONTROL, b"last\n");
    drop(first);
    assert!(writer.flush(PATIENCE));
    assert_eq!(content(&path), "last\n");
    assert!(writer.flush(PATIENCE));
    assert!(lock(&writer.sinks).is_empty());
}

#[test]
fn after_a_rotation_entries_go_to_the_new_file() {
    let directory = Directory::new();
    let (path, moved) = (directory.0.join("access.log"), directory.0.join("access.log.1"));
    let writer = Writer::new(&Registry::new(1), NEVER).unwrap();
    let sink = writer.file(&path).unwrap();
    sink.write(Shard::CONTROL, b"before\n");
    assert!(writer.flush(PATIENCE));
    std::fs::rename(&path, &moved).unwrap();
    sink.write(Shard::CONTROL, b"still the old one\n");
    assert!(writer.flush(PATIENCE));
    writer.reopen();
    sink.write(Shard::CONTROL, b"after\n");
    assert!(writer.flush(PATIENCE));
    assert_eq!(content(&moved), "before\nstill the old one\n");
    assert_eq!(content(&path), "after\n");
}

#[test]
fn a_queue_that_is_full_drops_entries_and_counts_them() {
    let registry = Registry::new(1);
    // A sink whose writer does nothing: the queue only fills.
    let shared = Arc::new(Shared {
        stats: registry.block(Scope::Process("filesystem."), &filesystem::TABLE),
        reopen: AtomicBool::new(false),
        wake: Mutex::default(),
        condition: Condvar::new(),
        write_at: 64 * 1024,
    });
    let sink = Sink {
        target: Target::Stdout,
        queue: Mutex::default(),
        shared,
    };
    let entry = vec![b'x'; 1024 * 1024];
    (0..6).for_each(|_| sink.write(Shard::worker(0), &entry));
    let stats = &sink.shared.stats;
    assert_eq!(stats.counter(filesystem::WRITE_BUFFERED), 4);
    assert_eq!(stats.counter(filesystem::WRITE_DROPPED), 2);
    assert!(lock(&sink.shared.wake).due, "a full queue wakes the writer");
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_once() {
    let writer = Writer::new(&Registry::new(1), NEVER).unwrap();
    assert!(writer.file(Path::new("/nonexistent/directory/access.log")).is_err());
}

#[test]
fn what_is_queued_is_written_when_the_writer_goes() {
    let directory = Directory::new();
    let path = directory.0.join("access.log");
    let writer = Writer::new(&Registry::new(1), NEVER).unwrap();
    let sink = writer.file(&path).unwrap();
    sink.write(Shard::CONTROL, b"last words\n");
    drop(writer);
    assert_eq!(content(&path), "last words\n");
}

#[test]
fn a_sink_that_holds_the_minimum_is_written_without_waiting_for_the_interval() {
    let directory = Directory::new();
    let path = directory.0.join("access.log");
    let written_at_once = FlushSettings { min_size: 0, ..NEVER };
    let registry = Registry::new(1);
    let writer = Writer::new(&registry, written_at_once).unwrap();
    let sink = writer.file(&path).unwrap();
    sink.write(Shard::CONTROL, b"one\n");
    let deadline = Instant::now() + PATIENCE;
    while content(&path).is_empty() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(content(&path), "one\n");
    let stats = registry.block(Scope::Process("filesystem."), &filesystem::TABLE);
    assert_eq!(stats.counter(filesystem::FLUSHED_BY_TIMER), 0);
}
