//! `/memory`, from what the kernel says: the allocator keeps no account that could be asked for.

use xds_api::envoy::admin::v3::Memory;
use xds_api::{JsonStyle, to_json_styled};

use super::Answer;

pub(super) fn answer() -> Answer {
    Answer::json(to_json_styled(
        &of_process(),
        JsonStyle {
            pretty: true,
            defaults: true,
            redact: false,
        },
    ))
}

/// What the process uses now.
pub(crate) fn of_process() -> Memory {
    memory(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// `allocated` is resident memory that belongs to no file, `heap_size` the data segment, `total_physical_bytes` all
/// resident memory.
fn memory(status: &str) -> Memory {
    let bytes = |name: &str| -> u64 {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kilobytes.unwrap_or(0).saturating_mul(1024)
    };
    Memory {
        allocated: bytes("RssAnon"),
        heap_size: bytes("VmData"),
        total_physical_bytes: bytes("VmRSS"),
        ..Memory::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_account_is_read() {
        let memory = memory("Name:\tx\nVmRSS:\t    5120 kB\nVmData:\t   99 kB\nRssAnon:\t 1024 kB\n");
        assert_eq!(
            (memory.total_physical_bytes, memory.heap_size, memory.allocated),
            (5_242_880, 101_376, 1_048_576)
        );
    }
}
