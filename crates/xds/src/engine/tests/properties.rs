//! Whatever happens on the way: the configuration ends as if the final state had been there from the beginning, and what
//! is served never loses a cluster it names.

use std::collections::BTreeSet;

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
        /// For how many seconds it is good; 0 for ever.
        seconds: u8,
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
    /// The other server learns of the world as it is now; until then it has an older one.
    Learn,
    /// The preferred server cannot be reached any more: the other one is asked.
    FallBack,
    /// The preferred server is tried, on a stream beside.
    Probe,
    ProbeBreaks,
    ProbeHears,
    /// The preferred server answers, if it has something to say of this type, and serves from then on.
    ProbeAnswers(ResourceType),
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
        1 => Just(Spoil::Heartbeat),
        1 => prop::sample::select(vec![5, 7, 14]).prop_map(Spoil::Reported),
    ];
    let seconds = prop_oneof![5 => Just(0), 1 => 1..30u8];
    prop_oneof![
        12 => (resource_type(), 0..4u8, any::<u16>(), prop::bool::weighted(0.15), seconds).prop_map(
            |(resource_type, index, seed, faulty, seconds)| Step::Put { resource_type, index, seed, faulty, seconds }
        ),
        4 => (resource_type(), 0..4u8).prop_map(|(resource_type, index)| Step::Remove { resource_type, index }),
        16 => (resource_type(), spoil).prop_map(|(resource_type, spoil)| Step::Deliver(resource_type, spoil)),
        8 => Just(Step::Hear),
        2 => Just(Step::Break),
        2 => (1..20u8).prop_map(Step::Seconds),
        1 => Just(Step::Learn),
        1 => Just(Step::FallBack),
        2 => Just(Step::Probe),
        1 => Just(Step::ProbeBreaks),
        2 => Just(Step::ProbeHears),
        3 => resource_type().prop_map(Step::ProbeAnswers),
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
    /// The preferred server's stream, or the other one's.
    server: Server,
    /// The preferred server's stream beside that of the other one.
    probe: Option<Server>,
    is_preferred: bool,
    world: World,
    /// What the other server knows.
    older: World,
    config: Arc<Config>,
    revision: u32,
    now: Instant,
    /// Whether time has passed: only then may something be published without all it needs.
    waited: bool,
    /// Whether clusters may go although something names them: those that expire, or all by policy.
    mortal: BTreeSet<Arc<str>>,
    /// Clusters that were refused at some time: what names them does not wait for them.
    refused: BTreeSet<Arc<str>>,
    data_errors: DataErrors,
}

impl Run {
    fn new(variant: Variant, world: World, data_errors: DataErrors) -> Self {
        let now = Instant::now();
        let mut engine = Engine::new(
            EngineOptions {
                data_errors,
                ..options(variant)
            },
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
            probe: None,
            is_preferred: true,
            world,
            older: World::default(),
            config: Arc::default(),
            revision: 0,
            now,
            waited: false,
            mortal: BTreeSet::new(),
            refused: BTreeSet::new(),
            data_errors,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Put {
                resource_type,
                index,
                seed,
                faulty,
                seconds,
            } => {
                self.revision += 1;
                let mut fixture = resource(resource_type, index, seed, self.revision);
                if faulty {
                    fixture.fault = "broken".into();
                }
                let key = ResourceKey::new(resource_type, index.to_string());
                self.world.seconds.remove(&key);
                if seconds > 0 {
                    self.mortal.insert(Arc::clone(&key.name));
                    self.world.seconds.insert(key.clone(), seconds);
                }
                self.world.resources.insert(key, fixture);
            }
            Step::Remove { resource_type, index } => {
                let key = ResourceKey::new(resource_type, index.to_string());
                self.world.resources.remove(&key);
                self.world.seconds.remove(&key);
            }
            Step::Deliver(resource_type, spoil) => self.deliver(resource_type, spoil),
            Step::Hear => self.hear(),
            Step::Break => self.open(self.is_preferred),
            Step::Seconds(seconds) => {
                self.now += Duration::from_secs(seconds.into());
                self.waited = true;
                self.engine.on_deadline(self.now);
            }
            Step::Learn => self.older = self.world.clone(),
            Step::FallBack => self.open(false),
            Step::Probe if self.is_preferred || self.probe.is_some() => {}
            Step::Probe => {
                self.engine.probe_opened(SourceId::ADS, 0);
                self.probe = Some(Server::default());
            }
            Step::ProbeBreaks => {
                self.engine.probe_closed(SourceId::ADS);
                self.probe = None;
            }
            Step::ProbeHears => {
                let (engine, now) = (&mut self.engine, self.now);
                if let Some(probe) = &mut self.probe {
                    probe.hear(|| engine.next_probe_request(SourceId::ADS, now));
                }
            }
            Step::ProbeAnswers(resource_type) => self.probe_answers(resource_type),
        }
        self.check();
    }

    /// The stream ends, and one to the preferred server or the other one begins.
    fn open(&mut self, preferred: bool) {
        self.engine.stream_closed(SourceId::ADS, "broken".into(), self.now);
        if preferred || self.is_preferred {
            // The task that tries the preferred server begins anew with each stream to the other one.
            self.engine.probe_closed(SourceId::ADS);
            self.probe = None;
        }
        self.server = Server::default();
        self.is_preferred = preferred;
        self.engine
            .stream_opened(SourceId::ADS, usize::from(!preferred), self.now);
    }

    fn hear(&mut self) {
        let (engine, now) = (&mut self.engine, self.now);
        self.server.hear(|| engine.next_request(SourceId::ADS, now));
    }

    fn deliver(&mut self, resource_type: ResourceType, spoil: Spoil) {
        let world = if self.is_preferred { &self.world } else { &self.older };
        if let Some(response) = self.server.response(self.variant, world, resource_type, spoil) {
            // A type that is not subscribed to any more is ignored: the server has not heard of it yet.
            let _ = self.engine.receive(SourceId::ADS, response, self.now);
        }
    }

    fn probe_answers(&mut self, resource_type: ResourceType) {
        let Some(probe) = &mut self.probe else { return };
        let response = probe.response(self.variant, &self.world, resource_type, Spoil::No);
        if let (Some(response), Some(probe)) = (response, self.probe.take()) {
            if !self.engine.is_probe_current(SourceId::ADS) {
                return self.engine.probe_closed(SourceId::ADS);
            }
            self.server = probe;
            self.is_preferred = true;
            let _ = self.engine.probe_answered(SourceId::ADS, response, self.now);
        }
    }

    /// Exchanges messages until both have nothing more to say.
    fn quiesce(&mut self) {
        for _ in 0..100 {
            self.hear();
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
            let World { resources, seconds } = &mut self.world;
            let fixtures = resources
                .iter_mut()
                .filter(|(key, _)| key.resource_type == resource_type);
            let mut needed = Vec::new();
            for (key, fixture) in fixtures {
                let mortal = seconds.remove(key).is_some();
                if !std::mem::take(&mut fixture.fault).is_empty() || mortal {
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
                if !self.world.resources.contains_key(&key) {
                    self.revision += 1;
                    let fixture = Fixture {
                        name: key.name.to_string(),
                        revision: self.revision,
                        ..Fixture::default()
                    };
                    self.world.resources.insert(key, fixture);
                }
            }
        }
    }

    /// What must hold at every moment.
    fn check(&mut self) {
        for (name, entry) in self.engine.store.entries(CDS) {
            self.refused.extend(entry.rejection.as_ref().map(|_| Arc::clone(name)));
        }
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
                let may_go = self.data_errors == DataErrors::Drop || self.mortal.contains(&reference.name);
                assert!(
                    available || !was_available || may_go,
                    "{key} is served and names {:?}, which was taken away",
                    reference.name
                );
                assert!(
                    available || self.waited || may_go || self.refused.contains(&reference.name),
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

fn ends_as_from_nothing(variant: Variant, data_errors: DataErrors, steps: &[Step]) {
    let mut run = Run::new(variant, World::default(), data_errors);
    for step in steps {
        run.take(step);
    }
    run.repair();
    if !run.is_preferred {
        run.open(true);
    }
    run.quiesce();
    let mut fresh = Run::new(variant, run.world.clone(), data_errors);
    fresh.quiesce();
    assert_eq!(run.content(), fresh.content());
    assert_eq!(published(&run.config), published(&fresh.config));
    let waiting: Vec<_> = run.engine.assembler.waiting().collect();
    assert!(waiting.is_empty(), "{waiting:?}");

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
        ends_as_from_nothing(Variant::StateOfTheWorld, DataErrors::AsEnvoy, &steps);
    }

    #[test]
    fn any_interleaving_ends_in_the_same_config_as_building_the_final_state_from_nothing_in_delta(
        steps in prop::collection::vec(step(), 0..120)
    ) {
        ends_as_from_nothing(Variant::Delta, DataErrors::AsEnvoy, &steps);
    }

    #[test]
    fn both_protocols_end_in_the_same_config(steps in prop::collection::vec(step(), 0..120)) {
        let mut ends = BOTH.map(|variant| {
            let mut run = Run::new(variant, World::default(), DataErrors::AsEnvoy);
            steps.iter().for_each(|step| run.take(step));
            run.repair();
            if !run.is_preferred {
                run.open(true);
            }
            run.quiesce();
            run.content()
        });
        prop_assert_eq!(std::mem::take(&mut ends[0]), std::mem::take(&mut ends[1]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_ends_in_the_same_config_also_when_every_fault_drops_what_was_good(
        steps in prop::collection::vec(step(), 0..120)
    ) {
        for variant in BOTH {
            ends_as_from_nothing(variant, DataErrors::Drop, &steps);
        }
    }
}

#[test]
fn a_cluster_that_was_only_ever_refused_and_is_removed_while_the_stream_is_down_leaves_nothing_behind() {
    let put = |resource_type, index, seed, faulty| Step::Put {
        resource_type,
        index,
        seed,
        faulty,
        seconds: 0,
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
        ends_as_from_nothing(variant, DataErrors::AsEnvoy, &steps);
    }
}

#[test]
fn a_listener_that_is_dropped_while_it_waits_for_its_routes_leaves_nothing_behind() {
    let put = |seed| Step::Put {
        resource_type: LDS,
        index: 0,
        seed,
        faulty: false,
        seconds: 0,
    };
    let steps = [
        put(1),
        Step::Hear,
        Step::Deliver(LDS, Spoil::No),
        Step::Deliver(LDS, Spoil::Duplicate),
        put(34),
    ];
    for variant in BOTH {
        ends_as_from_nothing(variant, DataErrors::Drop, &steps);
    }
}
