//! RING_HASH and MAGLEV beside Envoy's: hashing.json holds what Envoy chose, and names the command that recorded it.

use config::cluster::{ConsistentHashing, HashFunction};
use config::endpoint::LocalityEndpoints;
use config::metadata::Value as MetadataValue;
use serde_json::Value;

use super::*;
use crate::endpoint::EndpointAddress;
use crate::xx_hash::xx_hash_64;

/// Made by tests/peers/record_hashing.py with Envoy 1.39.3.
const RECORDED: &str = include_str!("hashing.json");

fn policy(case: &Value) -> Policy {
    let common = ConsistentHashing {
        use_hostname_for_hashing: case["by_name"].as_bool().unwrap_or(false),
        hash_balance_factor: case["balance"].as_u64().map(|percent| percent as u32),
    };
    Policy::Hashing(match case["policy"].as_str().unwrap() {
        "ring" => Hashing::Ring {
            minimum_size: case["minimum"].as_u64().unwrap(),
            maximum_size: case["maximum"].as_u64().unwrap(),
            function: match case["function"].as_str().unwrap() {
                "MURMUR_HASH_2" => HashFunction::MurmurHash2,
                _ => HashFunction::XxHash,
            },
            common,
        },
        _ => Hashing::Maglev {
            table_size: case["size"].as_u64().unwrap(),
            common,
        },
    })
}

fn members(case: &Value) -> Vec<LocalityEndpoints> {
    let mut localities: Vec<LocalityEndpoints> = Vec::new();
    for host in case["hosts"].as_array().unwrap() {
        let zone = host["zone"].as_str().unwrap_or("");
        let priority = host["priority"].as_u64().unwrap_or(0) as u32;
        let mut endpoint = testing::endpoint(
            host["address"].as_str().unwrap().parse().unwrap(),
            host["weight"].as_u64().unwrap_or(1) as u32,
        );
        endpoint.details_mut().hostname = host["hostname"].as_str().map(Into::into);
        if let Some(key) = host["hash_key"].as_str() {
            let fields = [("hash_key".into(), MetadataValue::String(key.into()))].into();
            endpoint.details_mut().metadata.filter_metadata = [("envoy.lb".into(), fields)].into();
        }
        let same =
            |locality: &&mut LocalityEndpoints| locality.priority == priority && *locality.locality.zone == *zone;
        if let Some(locality) = localities.iter_mut().find(same) {
            locality.endpoints.push(endpoint);
            continue;
        }
        let mut made = locality(priority, 0, case["zones"][zone].as_u64().unwrap_or(0) as u32, &[]);
        Arc::make_mut(&mut made.locality).zone = zone.into();
        made.endpoints.push(endpoint);
        localities.push(made);
    }
    localities
}

fn table(case: &Value) -> LbTable {
    let cluster = cluster();
    let hosts = HostSet::new(testing::assignment(members(case)), |_, endpoint| {
        let address = EndpointAddress::Socket(endpoint.address().socket_addr().unwrap());
        let state = cluster.endpoint(address, "", endpoint.details().hostname.as_deref().unwrap_or(""));
        let text = state.address().to_string();
        let recorded = case["hosts"].as_array().unwrap();
        let host = recorded.iter().find(|host| host["address"] == *text).unwrap();
        let flags = match host["health"].as_str() {
            Some("UNHEALTHY") => HealthFlags::FAILED_EDS_HEALTH,
            Some("DEGRADED") => HealthFlags::DEGRADED_EDS_HEALTH,
            _ => HealthFlags::NONE,
        };
        state.update_health(flags, HealthFlags::REMOVED);
        vec![state]
    });
    let settings = TableSettings {
        locality_weighted: case["zones"].is_object(),
        ..settings(policy(case))
    };
    table_of(Arc::new(hosts), settings)
}

#[test]
fn ring_and_table_choose_the_hosts_that_envoy_chooses() {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let mut compared = 0;
    for case in recorded["cases"].as_array().unwrap() {
        let (table, mut worker) = (table(case), worker(1));
        let mut held = Vec::new();
        for (number, pick) in case["picks"].as_array().unwrap().iter().enumerate() {
            let (key, expected) = (pick[0].as_str().unwrap(), pick[1].as_str().unwrap());
            let context = PickContext {
                hash: (!key.is_empty()).then(|| xx_hash_64(key.as_bytes(), 0)),
                ..PickContext::default()
            };
            let picked = table.pick(&context, &mut worker).0;
            let address = picked.map_or("-".to_owned(), |endpoint| endpoint.address().to_string());
            if context.hash.is_some() {
                assert_eq!(address, expected, "{}, pick {number}: {key:?}", case["name"]);
                compared += 1;
            }
            if case["held"] == true {
                // Without a hash either took any: the load goes on as Envoy had it.
                let taken = table
                    .hosts()
                    .iter()
                    .find(|host| host.state.address().to_string() == expected);
                let request = taken
                    .unwrap()
                    .state
                    .try_start_request(&CircuitBreakers::default(), RoutingPriority::Default);
                held.push(request.unwrap());
            }
        }
    }
    assert!(compared > 1_000, "{compared}");
}

/// Taking one of ten endpoints away moves its keys and few others.
#[test]
fn few_keys_move_when_an_endpoint_leaves() {
    let common = ConsistentHashing::default();
    let ring = Hashing::Ring {
        minimum_size: 1024,
        maximum_size: 8 << 20,
        function: HashFunction::XxHash,
        common,
    };
    let maglev = Hashing::Maglev {
        table_size: 65537,
        common,
    };
    for hashing in [ring, maglev] {
        let cluster = cluster();
        let hosts = one_locality(&cluster, &[1; 10]);
        let before = table_of(hosts.clone(), settings(Policy::Hashing(hashing)));
        fail(&hosts, [3]);
        let after = table_of(hosts.clone(), settings(Policy::Hashing(hashing)));
        let mut worker = worker(1);
        let mut pick = |table: &LbTable, hash| {
            let context = PickContext {
                hash: Some(hash),
                ..PickContext::default()
            };
            table.pick(&context, &mut worker).0.unwrap().address().to_string()
        };
        let moved = (0..1_000u64)
            .map(|key| xx_hash_64(&key.to_le_bytes(), 0))
            .filter(|hash| pick(&before, *hash) != pick(&after, *hash))
            .count();
        assert!((50..260).contains(&moved), "{hashing:?}: {moved}");
    }
}

/// The distribution over many keys is that of the weights, within what 64 places on a ring allow.
#[test]
fn keys_are_spread_by_weight() {
    let maglev = Hashing::Maglev {
        table_size: 65537,
        common: ConsistentHashing::default(),
    };
    let cluster = cluster();
    let table = table_of(one_locality(&cluster, &[1, 2, 5]), settings(Policy::Hashing(maglev)));
    let counts = values(picks(&table, &mut worker(1), 16_000));
    for (count, expected) in counts.iter().zip([2_000usize, 4_000, 10_000]) {
        assert!(count.abs_diff(expected) < expected / 10, "{counts:?}");
    }
}

#[test]
fn another_attempt_finds_another_endpoint() {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    for case in recorded["cases"].as_array().unwrap().iter().filter(|case| {
        let name = case["name"].as_str().unwrap();
        name.ends_with("of five")
    }) {
        let (table, mut worker) = (table(case), worker(1));
        let mut context = PickContext {
            hash: Some(7),
            ..PickContext::default()
        };
        let first = [table.pick(&context, &mut worker).0.unwrap().clone()];
        context.avoid = &first;
        context.reselections = 20;
        assert!(!Arc::ptr_eq(table.pick(&context, &mut worker).0.unwrap(), &first[0]));
    }
}
