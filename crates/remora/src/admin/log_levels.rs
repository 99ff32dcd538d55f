//! `/logging`: levels of the application log.

use std::fmt::Write as _;

use http::StatusCode;

use super::Answer;
use super::routes::Request;
use crate::logging::{self, Component, Level};

pub(super) fn answer(request: &Request<'_>) -> Answer {
    match change(request) {
        Ok(()) => Answer::text(StatusCode::OK, levels()),
        Err(error) => {
            let levels_there_are: String = Level::ALL.iter().map(|level| format!("{level} ")).collect();
            let usage = format!(
                "error: {error}\n\n\
                 usage: /logging?<name>=<level> (change single level)\n\
                 usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n\
                 usage: /logging?level=<level> (change all levels)\n\
                 usage: /logging?group=<group_name>:<level> (change group of loggers)\n\
                 levels: {levels_there_are}\n"
            );
            Answer::bad_request(usage + &levels())
        }
    }
}

fn change(request: &Request<'_>) -> Result<(), &'static str> {
    const UNKNOWN_LEVEL: &str = "unknown logger level";
    const UNKNOWN_NAME: &str = "unknown logger name";
    const EMPTY: &str = "empty logger name or empty logger level";
    let level = |text: &str| text.parse::<Level>().map_err(|_| UNKNOWN_LEVEL);
    match request.parameters.len() {
        0 => return Ok(()),
        1 => {}
        _ => return Err("invalid number of parameters"),
    }
    for (name, value) in request.parameters.iter() {
        match name {
            // As in Envoy: nothing is asked for.
            "level" | "paths" if value.is_empty() => {}
            "level" => logging::set_level(None, level(value)?),
            // Loggers have no groups here, and none in Envoy unless it logs by file.
            "group" => return Err("group parameter requires fine-grain logging to be enabled"),
            "paths" => {
                let mut changes = Vec::new();
                for change in value.split(',').filter(|change| !change.is_empty()) {
                    let (name, text) = change
                        .split_once(':')
                        .filter(|(name, text)| !name.is_empty() && !text.is_empty())
                        .ok_or(EMPTY)?;
                    changes.push((Component::named(name).map_err(|_| UNKNOWN_NAME)?, level(text)?));
                }
                // All or nothing.
                for (component, level) in changes {
                    logging::set_level(Some(component), level);
                }
            }
            name => {
                let component = Component::named(name).map_err(|_| UNKNOWN_NAME)?;
                logging::set_level(Some(component), level(value)?);
            }
        }
    }
    Ok(())
}

fn levels() -> String {
    let mut text = String::from("active loggers:\n");
    for component in Component::all() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}: {}", component.name(), component.level());
    }
    text.push('\n');
    text
}
