//! The surroundings of a program: the variables that it was started with, and the usual place of a key.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::keys::DEFAULT_KEY_FILE;
use super::similar;

/// The surroundings of a program, looked at once. An empty variable counts as one that is not set.
#[derive(Debug)]
pub(super) struct Environment {
    variables: BTreeMap<OsString, OsString>,
    default_key_file: PathBuf,
}

impl Environment {
    pub(super) fn of_this_process() -> Self {
        Self::new(std::env::vars_os(), DEFAULT_KEY_FILE)
    }

    /// No variables and no usual place of a key: the command line alone decides.
    pub(super) fn none() -> Self {
        // No file has an empty name.
        Self::new([], "")
    }

    fn new(variables: impl IntoIterator<Item = (OsString, OsString)>, default_key_file: &str) -> Self {
        let variables = variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        Self { variables, default_key_file: PathBuf::from(default_key_file) }
    }

    /// These variables, and no usual place of a key.
    #[cfg(test)]
    pub(super) fn with(variables: &[(&str, &str)]) -> Self {
        Self::new(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())), "")
    }

    /// The value of a variable that is set for this program.
    pub(super) fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        let name = name.as_ref();
        let value = self.variables.get(name)?;
        (!self.is_about_a_service(name, value)).then_some(value)
    }

    /// The key file that is used where none is named, if it exists.
    pub(super) fn default_key_file(&self) -> &Path {
        &self.default_key_file
    }

    /// Logs the variables that begin like ours and set nothing: a warning for those that look like a mistake or that
    /// another program has set, a line with -v for the rest. `known` are the variables of all options.
    pub(super) fn tell_what_is_ignored(&self, known: &[String]) {
        for remark in self.ignored(known) {
            match remark {
                Ignored::Service(text) | Ignored::Near(text) => tracing::warn!("{text}"),
                Ignored::Unknown(text) => tracing::debug!("{text}"),
            }
        }
    }

    fn ignored(&self, known: &[String]) -> Vec<Ignored> {
        let ours =
            self.variables.iter().filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
        let mut remarks = Vec::new();
        for (name, value) in ours {
            let (text, value_text) = (name.to_string_lossy(), shown(value));
            let is_known = known.iter().any(|known| *known == text) || text == LOG;
            if is_known && self.is_about_a_service(name, value) {
                remarks.push(Ignored::Service(format!(
                    "{text}={value_text} is ignored: Kubernetes or Docker sets it for a service named mcast; give the \
                     service another name, or (Kubernetes) set enableServiceLinks: false"
                )));
            } else if is_known {
                continue;
            } else if let Some(nearest) = nearest(&text, known) {
                remarks.push(Ignored::Near(format!(
                    "{text}={value_text} is ignored: there is no such variable; did you mean {nearest}? Correct its \
                     name, or unset it"
                )));
            } else {
                remarks.push(Ignored::Unknown(format!(
                    "{text}={value_text} is ignored: it belongs to no option"
                )));
            }
        }
        remarks
    }

    /// Kubernetes and Docker describe a service named "mcast" in `MCAST_PORT` (`tcp://10.0.0.1:7767`), and Docker a
    /// container of that name in `MCAST_NAME` (`/backup/mcast`). Neither can be the value of an option.
    fn is_about_a_service(&self, name: &OsStr, value: &OsStr) -> bool {
        let is_url = |value: &OsStr| {
            let value = value.to_string_lossy();
            ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme))
        };
        let port_is_one = || self.variables.get(OsStr::new(PORT)).is_some_and(|port| is_url(port));
        match name.to_str() {
            Some(PORT) => is_url(value),
            Some(NAME) => value.as_encoded_bytes().starts_with(b"/") && port_is_one(),
            _ => false,
        }
    }
}

/// A variable that begins like ours and sets nothing, in a line for people.
#[derive(Debug)]
enum Ignored {
    /// Another program has set it, for a purpose of its own.
    Service(String),
    /// It looks like one of ours.
    Near(String),
    /// It looks like none of ours.
    Unknown(String),
}

/// The variable that was probably meant: one that differs in a letter or two, or begins or ends with the same words.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let name = name.strip_prefix(PREFIX)?;
    // What Kubernetes and Docker set for a service beside its port.
    if ["SERVICE_", "PORT_", "ENV_"].iter().any(|start| name.starts_with(start)) {
        return None;
    }
    let names = || known.iter().map(|known| known.strip_prefix(PREFIX).unwrap_or(known));
    let meant = similar::typo(name, names()).or_else(|| similar::longer(name, '_', names()))?;
    known.iter().map(String::as_str).find(|known| known.strip_prefix(PREFIX) == Some(meant))
}

/// A value in quotes, harmless to a terminal, and no longer than a line.
fn shown(value: &OsStr) -> String {
    let text = value.to_string_lossy();
    let beginning: String = text.chars().take(LONGEST_VALUE).collect();
    if beginning.len() < text.len() { format!("{beginning:?}…") } else { format!("{beginning:?}") }
}

const PREFIX: &str = "MCAST_";
const PORT: &str = "MCAST_PORT";
const NAME: &str = "MCAST_NAME";
/// The filter of the log, see `console`. It belongs to no option.
const LOG: &str = "MCAST_LOG";
/// Of a value in a message, in characters.
const LONGEST_VALUE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        [
            "KEEP_DAILY",
            "KEY_FILE",
            "LABEL",
            "MAX_STALL",
            "MIN_RECEIVERS",
            "NAME",
            "PORT",
            "SIZE",
            "THEN",
            "TTL",
        ]
        .map(|name| format!("{PREFIX}{name}"))
        .to_vec()
    }

    #[test]
    fn empty_variable_is_not_set() {
        let environment = Environment::with(&[("MCAST_LABEL", ""), ("MCAST_NAME", "db2")]);
        assert_eq!(environment.get("MCAST_LABEL"), None);
        assert_eq!(environment.get("MCAST_NAME"), Some(OsStr::new("db2")));
    }

    #[test]
    fn variables_of_a_service_named_mcast_set_no_option_and_are_told() {
        let linked = Environment::with(&[
            ("MCAST_PORT", "tcp://10.0.0.1:7767"),
            ("MCAST_NAME", "/backup/mcast"),
            ("MCAST_PORT_7767_UDP", "udp://10.0.0.1:7767"),
            ("MCAST_SERVICE_HOST", "10.0.0.1"),
        ]);
        assert_eq!((linked.get("MCAST_PORT"), linked.get("MCAST_NAME")), (None, None));
        let remarks = linked.ignored(&known());
        let warned = |part: &str| {
            remarks.iter().any(|remark| matches!(remark, Ignored::Service(text) if text.contains(part)))
        };
        assert!(warned("MCAST_PORT=\"tcp://10.0.0.1:7767\"") && warned("MCAST_NAME=\"/backup/mcast\""));
        let quiet = remarks.iter().filter(|remark| matches!(remark, Ignored::Unknown(_))).count();
        assert_eq!((quiet, remarks.len()), (2, 4), "{remarks:?}");
        // A user may have meant these values, so the option refuses them and names the remedy.
        let mistaken = Environment::with(&[("MCAST_PORT", "http"), ("MCAST_NAME", "/backup/mcast")]);
        assert!(mistaken.get("MCAST_PORT").is_some() && mistaken.get("MCAST_NAME").is_some());
        assert!(mistaken.ignored(&known()).is_empty());
    }

    #[test]
    fn variable_that_is_almost_one_of_ours_is_told_with_the_one_that_was_meant() {
        for (name, meant) in [
            ("MCAST_LABLE", "MCAST_LABEL"),
            ("MCAST_LABELS", "MCAST_LABEL"),
            ("MCAST_KEYFILE", "MCAST_KEY_FILE"),
            ("MCAST_KEY", "MCAST_KEY_FILE"),
            ("MCAST_RECEIVERS", "MCAST_MIN_RECEIVERS"),
            ("MCAST_DAILY", "MCAST_KEEP_DAILY"),
            ("MCAST_PROT", ""),
            ("MCAST_POR", "MCAST_PORT"),
            ("MCAST_BIN", ""),
            ("MCAST_SEED", ""),
            ("MCAST_FOO", ""),
            ("MCAST_", ""),
            ("MCAST_\u{e4}", ""),
        ] {
            let remarks = Environment::with(&[(name, "a\u{1b}[2Jb")]).ignored(&known());
            let [remark] = remarks.as_slice() else { panic!("{name}: {remarks:?}") };
            match remark {
                Ignored::Near(text) => {
                    assert!(!meant.is_empty() && text.contains(&format!("did you mean {meant}?")), "{text}");
                    assert!(text.contains(name) && !text.contains('\u{1b}'), "{text:?}");
                }
                Ignored::Unknown(text) => assert!(meant.is_empty() && text.contains(name), "{text}"),
                Ignored::Service(text) => panic!("{text}"),
            }
        }
        assert!(
            Environment::with(&[("MCAST_LABEL", "shop"), ("MCAST_LOG", "debug"), ("PATH", "/")])
                .ignored(&known())
                .is_empty()
        );
    }
}
