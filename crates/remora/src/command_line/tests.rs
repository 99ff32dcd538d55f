use super::*;

fn read(arguments: &str) -> Result<CommandLine, (String, u8)> {
    let arguments = std::iter::once("remora")
        .chain(arguments.split_whitespace())
        .map(OsString::from)
        .collect();
    CommandLine::read(arguments).map_err(|(error, status)| (error.to_string(), status))
}

#[test]
fn pilot_agents_command_line_is_taken() {
    let line = read(
        "-c etc/istio/proxy/envoy-rev.json --drain-time-s 45 --drain-strategy immediate --local-address-ip-version v4 \
         --file-flush-interval-msec 1000 --disable-hot-restart --allow-unknown-static-fields -l warning \
         --component-log-level misc:error,upstream:debug --skip-deprecated-logs --concurrency 2 --service-node n",
    )
    .expect("Istio's command line");
    let options = line.options;
    assert_eq!(options.drain_time(), Duration::from_secs(45));
    assert_eq!(options.drain_strategy, DrainStrategy::Immediate);
    assert_eq!(options.log_level, Level::Warning);
    assert_eq!(options.workers(), 2);
    assert!(options.allow_unknown_static_fields);
    let levels: Vec<_> = options
        .component_log_level
        .iter()
        .map(|(component, level)| (component.name(), level))
        .collect();
    assert_eq!(levels, [("misc", Level::Error), ("upstream", Level::Debug)]);
    assert_eq!(
        options.given_without_meaning(),
        ["--disable-hot-restart", "--skip-deprecated-logs"]
    );
    assert_eq!(options.shown().drain_time.expect("set").seconds, 45);
}

#[test]
fn values_are_refused_in_envoys_words_with_status_1() {
    for (arguments, words) in [
        ("--mode foo", "unknown mode 'foo'"),
        ("-l bogus", "invalid log level specified 'bogus'"),
        ("--component-log-level foo:debug", "invalid component specified 'foo'"),
        ("--component-log-level upstream:xx", "invalid log level specified 'xx'"),
        (
            "--component-log-level upstream",
            "component log level not correctly specified 'upstream'",
        ),
        ("--drain-strategy foo", "unknown drain-strategy 'foo'"),
        ("--local-address-ip-version v5", "unknown IP address version 'v5'"),
        ("--concurrency x", "invalid value 'x'"),
        ("--bogus", "unexpected argument '--bogus'"),
    ] {
        let (text, status) = read(arguments).expect_err(arguments);
        assert!(text.contains(words), "{arguments}: {text}");
        assert_eq!(status, 1, "{arguments}");
    }
}

#[test]
fn a_bad_check_command_ends_with_the_status_of_unread_files() {
    assert_eq!(read("check").expect_err("no file").1, 2);
    assert_eq!(read("check a.yaml --format xml").expect_err("no such format").1, 2);
    let line = read("check a.yaml --format json").expect("valid");
    assert!(matches!(
        line.command,
        Some(Command::Check(CheckOptions {
            format: CheckFormat::Json,
            ..
        }))
    ));
}

#[test]
fn help_names_every_option_of_the_contract_and_ends_with_status_0() {
    let (text, status) = read("--help").expect_err("help is printed");
    assert_eq!(status, 0);
    for option in [
        "--config-path",
        "--config-yaml",
        "--mode",
        "--concurrency",
        "--service-cluster",
        "--service-zone",
        "--log-level",
        "--component-log-level",
        "--log-format",
        "--log-path",
        "--drain-time-s",
        "--drain-strategy",
        "--parent-shutdown-time-s",
        "--admin-address-path",
        "--base-id",
        "--disable-hot-restart",
        "check",
        "--reject-unknown-dynamic-fields",
        "--version",
    ] {
        assert!(text.contains(option), "{option} is missing in\n{text}");
    }
}

#[test]
fn no_workers_are_one_worker() {
    assert_eq!(read("--concurrency 0").expect("valid").options.workers(), 1);
}

#[test]
fn data_errors_are_treated_as_in_envoy_unless_said_otherwise() {
    let policy = |arguments: &str| read(arguments).map(|line| line.options.xds_data_errors);
    assert_eq!(policy("-c a.yaml"), Ok(DataErrors::AsEnvoy));
    assert_eq!(policy("-c a.yaml --xds-data-errors keep"), Ok(DataErrors::Keep));
    assert_eq!(policy("-c a.yaml --xds-data-errors drop"), Ok(DataErrors::Drop));
    let (words, status) = policy("-c a.yaml --xds-data-errors forget").expect_err("no such policy");
    assert!(words.contains("expected envoy, keep or drop"), "{words}");
    assert_eq!(status, 1);
}
