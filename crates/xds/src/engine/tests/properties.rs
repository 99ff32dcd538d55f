//! Whatever happens on the way: the configuration ends as if the final state had been there from the beginning, and what
//! is served never loses a cluster it names.

use proptest::prelude::*;

use super::model::{Server, Spoil, World};
use super::*;
use crate::key::ResourceKey;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// A resource is added or changed. What it refers to is derived from the seed.
    Put {
        resource_type: ResourceType,
        index: u8,
        seed: u16,
        faulty: bool,
    },
    Remove {
        resource_type: ResourceType,
        index: u8,
    },
    /// The server sends what is new of one type.
    Deliver(ResourceType, Spoil),
    /// Requests reach the server.
    Hear,
    /// The stream breaks, with everything on it, and is opened again.
    Break,
    Seconds(u8),
}

fn resource_type() -> impl Strategy<Value = ResourceType> {
    prop::sample::select(ResourceType::ALL.to_vec())
}

fn step() -> impl Strategy<Value = Step> {
    let spoil = prop_oneof![
        6 => Just(Spoil::No),
        1 => Just(Spoil::Garbage),
        1 => Just(Spoil::Duplicate),
        1 => Just(Spoil::Unasked),
    ];
    prop_oneof![
        6 => (resource_type(), 0..4u8, any::<u16>(), prop::bool::weighted(0.15))
            .prop_map(|(resource_type, index, seed, faulty)| Step::Put { resource_type, index, seed, faulty }),
        2 => (resource_type(), 0..4u8).prop_map(|(resource_type, index)| Step::Remove { resource_type, index }),
        8 => (resource_type(), spoil).prop_map(|(resource_type, spoil)| Step::Deliver(resource_type, spoil)),
        4 => Just(Step::Hear),
        1 => Just(Step::Break),
        1 => (1..20u8).prop_map(Step::Seconds),
    ]
}

/// A resource with references made from a seed: clusters to endpoints and secrets, tables to clusters, listeners to all.
fn resource(resource_type: ResourceType, index: u8, seed: u16, revision: u32) -> Fixture {
    let name = |short: &str, shift: u32| format!("{short}:{}", (seed >> shift) & 3);
    let bit = |shift: u32| (seed >> shift) & 1 == 1;
    let mut references = Vec::new();
    match resource_type {
        CDS => {
            if bit(0) {
                references.push(name("eds", 1));
            }
            if bit(3) {
                references.push(name("sds", 4));
            }
        }
        RDS => {
            references.push(name("cds", 0));
            if bit(2) && name("cds", 3) != name("cds", 0) {
                references.push(name("cds", 3));
            }
        }
        LDS => {
            references.push(if bit(0) { name("rds", 1) } else { name("cds", 1) });
            if bit(3) {
                references.push(name("sds", 4));
            }
        }
        _ => {}
    }
    Fixture {
        name: index.to_string(),
        revision,
        references,
        ..Fixture::default()
    }
}

struct Run {
    variant: Variant,
    engine: Engine,
    server: Server,
    world: World,
    config: Arc<Config>,
    revision: u32,
    now: Instant,
    /// Whether time has passed: only then may something be published without all it needs.
    waited: bool,
}

impl Run {
    fn new(variant: Variant, world: World) -> Self {
        let now = Instant::now();
        let mut engine = Engine::new(
            options(variant),
            Arc::new(FixtureDecoder),
            &Registry::new(1),
            now,
            SystemTime::now(),
        );
        engine.stream_opened(SourceId::ADS, 0, now);
        Self {
            variant,
            engine,
            server: Server::default(),
            world,
            config: Arc::default(),
            revision: 0,
            now,
            waited: false,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Put {
                resource_type,
                index,
                seed,
                faulty,
            } => {
                self.revision += 1;
                let mut fixture = resource(resource_type, index, seed, self.revision);
                if faulty {
                    fixture.fault = "broken".into();
                }
                self.world
                    .0
                    .insert(ResourceKey::new(resource_type, index.to_string()), fixture);
            }
            Step::Remove { resource_type, index } => {
                self.world.0.remove(&ResourceKey::new(resource_type, index.to_string()));
            }
            Step::Deliver(resource_type, spoil) => self.deliver(resource_type, spoil),
            Step::Hear => self.server.hear(&mut self.engine, self.now),
            Step::Break => {
                self.engine.stream_closed(SourceId::ADS, "broken".into(), self.now);
                self.server = Server::default();
                self.engine.stream_opened(SourceId::ADS, 0, self.now);
            }
            Step::Seconds(seconds) => {
                self.now += Duration::from_secs(seconds.into());
                self.waited = true;
                self.engine.on_deadline(self.now);
            }
        }
        self.check();
    }

    fn deliver(&mut self, resource_type: ResourceType, spoil: Spoil) {
        if let Some(response) = self.server.response(self.variant, &self.world, resource_type, spoil) {
            // A type that is not subscribed to any more is ignored: the server has not heard of it yet.
            let _ = self.engine.receive(SourceId::ADS, response, self.now);
        }
    }

    /// Exchanges messages until both have nothing more to say.
    fn quiesce(&mut self) {
        for _ in 0..100 {
            self.server.hear(&mut self.engine, self.now);
            let mut said = false;
            for resource_type in ResourceType::ALL {
                if let Some(response) = self
                    .server
                    .response(self.variant, &self.world, resource_type, Spoil::No)
                {
                    self.engine
                        .receive(SourceId::ADS, response, self.now)
                        .expect("a subscribed type");
                    self.check();
                    said = true;
                }
            }
            if !said && !self.engine.has_request(SourceId::ADS, self.now) {
                return;
            }
        }
        panic!("client and server never agree");
    }

    /// Makes the world one in which everything is valid and everything referred to exists.
    fn repair(&mut self) {
        for resource_type in [LDS, RDS, CDS, EDS, ResourceType::Secret] {
            let fixtures: Vec<_> = self
                .world
                .0
                .iter_mut()
                .filter(|(key, _)| key.resource_type == resource_type)
                .collect();
            let mut needed = Vec::new();
            for (_, fixture) in fixtures {
                if !std::mem::take(&mut fixture.fault).is_empty() {
                    self.revision += 1;
                    fixture.revision = self.revision;
                }
                needed.extend(
                    fixture
                        .references
                        .iter()
                        .map(|reference| crate::fixtures::key(reference)),
                );
            }
            for key in needed {
                if !self.world.0.contains_key(&key) {
                    self.revision += 1;
                    let fixture = Fixture {
                        name: key.name.to_string(),
                        revision: self.revision,
                        ..Fixture::default()
                    };
                    self.world.0.insert(key, fixture);
                }
            }
        }
    }

    /// What must hold at every moment.
    fn check(&mut self) {
        let Some(config) = self.engine.take_config() else {
            return;
        };
        for (key, value) in self.engine.assembler.published_values() {
            for reference in value
                .references
                .iter()
                .filter(|reference| reference.resource_type == CDS)
            {
                let available = config.clusters.contains_key(&reference.name);
                let was_available = self.config.clusters.contains_key(&reference.name);
                assert!(
                    available || !was_available,
                    "{key} is served and names {:?}, which was taken away",
                    reference.name
                );
                assert!(
                    available || self.waited,
                    "{key} was published before {:?}",
                    reference.name
                );
            }
        }
        self.config = config;
    }

    fn content(&self) -> BTreeMap<ResourceKey, Arc<[u8]>> {
        let values = self.engine.assembler.published_values();
        values.map(|(key, value)| (key, Arc::clone(&value.encoded))).collect()
    }
}

fn ends_as_from_nothing(variant: Variant, steps: &[Step]) {
    let mut run = Run::new(variant, World::default());
    for step in steps {
        run.take(step);
    }
    run.repair();
    run.quiesce();
    let mut fresh = Run::new(variant, run.world.clone());
    fresh.quiesce();
    assert_eq!(run.content(), fresh.content());
    assert_eq!(published(&run.config), published(&fresh.config));
    let nothing_waits = run.engine.assembler.waiting().next().is_none();
    assert!(
        nothing_waits,
        "{:?}",
        run.engine.assembler.waiting().collect::<Vec<_>>()
    );

    // The same once more over a new stream changes nothing.
    let before = Arc::clone(&run.config);
    run.take(&Step::Break);
    run.quiesce();
    assert!(
        same_values(&before, &run.config),
        "identical content after a reconnect changes nothing"
    );

    // And when everything goes, nothing is left.
    run.world = World::default();
    run.quiesce();
    assert_eq!(published(&run.config), "");
    assert_eq!(run.engine.assembler.tracked(), 0);
    let kept: Vec<_> = ResourceType::ALL
        .into_iter()
        .flat_map(|resource_type| run.engine.store.entries(resource_type))
        .collect();
    assert!(kept.is_empty(), "{kept:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_ends_in_the_same_config_as_building_the_final_state_from_nothing_in_sotw(
        steps in prop::collection::vec(step(), 0..120)
    ) {
        ends_as_from_nothing(Variant::StateOfTheWorld, &steps);
    }

    #[test]
    fn any_interleaving_ends_in_the_same_config_as_building_the_final_state_from_nothing_in_delta(
        steps in prop::collection::vec(step(), 0..120)
    ) {
        ends_as_from_nothing(Variant::Delta, &steps);
    }

    #[test]
    fn both_protocols_end_in_the_same_config(steps in prop::collection::vec(step(), 0..120)) {
        let mut ends = BOTH.map(|variant| {
            let mut run = Run::new(variant, World::default());
            steps.iter().for_each(|step| run.take(step));
            run.repair();
            run.quiesce();
            run.content()
        });
        prop_assert_eq!(std::mem::take(&mut ends[0]), std::mem::take(&mut ends[1]));
    }
}

#[test]
fn a_cluster_that_was_only_ever_refused_and_is_removed_while_the_stream_is_down_leaves_nothing_behind() {
    let put = |resource_type, index, seed, faulty| Step::Put {
        resource_type,
        index,
        seed,
        faulty,
    };
    let steps = [
        put(CDS, 0, 0, true),
        put(LDS, 0, 1, false),
        Step::Hear,
        put(LDS, 3, 5816, false),
        Step::Deliver(LDS, Spoil::No),
        Step::Remove {
            resource_type: LDS,
            index: 3,
        },
        Step::Deliver(CDS, Spoil::No),
        Step::Remove {
            resource_type: CDS,
            index: 0,
        },
        put(CDS, 1, 0, false),
        Step::Break,
    ];
    for variant in BOTH {
        ends_as_from_nothing(variant, &steps);
    }
}
