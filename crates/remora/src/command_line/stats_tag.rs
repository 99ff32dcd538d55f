//! Labels of every statistic, as the command line gives them.

/// `--stats-tag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatsTag {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl std::str::FromStr for StatsTag {
    type Err = String;

    fn from_str(tag: &str) -> Result<Self, Self::Err> {
        let Some((name, value)) = tag.split_once(':') else {
            return Err(format!("misformatted stats tag '{tag}', expected name:value"));
        };
        // The rules of Envoy: the name becomes a label, the value a part of names that are divided by dots.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(format!(
                "misformatted stats tag '{tag}': its name is '{name}', expected ASCII letters and digits"
            ));
        }
        if value.is_empty() || value.starts_with('.') || value.ends_with('.') {
            return Err(format!(
                "misformatted stats tag '{tag}': its value is '{value}', expected one without a dot at an end"
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}
