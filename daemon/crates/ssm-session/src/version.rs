//! Version strings: the protocol negotiates nothing, each side infers the other's abilities from them.

use std::fmt;

/// The protocol level that we announce, independent of the product's version. It stands for a client that signs the
/// upgrade and follows the new URL on resume; the service documents 1.2.764.0 as its minimum. A low value would leave
/// the agent's own multiplexer keepalive on, which kills idle tunnels.
pub const CLIENT_VERSION: &str = "1.2.835.0";

/// A dotted numeric version as the peer wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    text: String,
    components: Option<Vec<u32>>,
}

impl Version {
    /// Any text is accepted; one that is not dotted numbers supports nothing.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let components = text.split('.').map(|part| part.parse().ok()).collect();
        Self { text, components }
    }

    /// As received.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Newer than `gate`, number by number. Another count of components is "not supported", as in the official client.
    #[must_use]
    pub fn exceeds(&self, gate: [u32; 4]) -> bool {
        self.components.as_ref().is_some_and(|own| own.len() == gate.len() && own[..] > gate[..])
    }

    /// At least `gate`, missing components counting as 0: the agent's way of comparing.
    #[cfg(feature = "agent")]
    pub(crate) fn reaches(&self, gate: [u32; 4]) -> bool {
        self.components.as_ref().is_some_and(|own| {
            let mut padded = own.clone();
            padded.resize(own.len().max(gate.len()), 0);
            padded[..] >= gate[..]
        })
    }

    /// Several connections per session; without it the agent forwards one at a time.
    #[must_use]
    pub fn multiplexes(&self) -> bool {
        self.exceeds([3, 0, 196, 0])
    }

    /// The agent's multiplexer expects a frame every 30 s.
    #[must_use]
    pub fn expects_keepalive(&self) -> bool {
        !self.exceeds([3, 1, 1511, 0])
    }

    /// The agent ends the session on the TerminateSession flag.
    #[must_use]
    pub fn understands_terminate(&self) -> bool {
        self.exceeds([2, 3, 722, 0])
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_exclusive_and_numeric() {
        assert!(!Version::new("3.0.196.0").multiplexes());
        assert!(Version::new("3.0.222.0").multiplexes());
        assert!(
            Version::new("3.0.1000.0").multiplexes(),
            "1000 is more than 196, though its text sorts before"
        );
        assert!(Version::new("3.1.1511.0").expects_keepalive());
        assert!(!Version::new("3.1.1511.1").expects_keepalive());
        assert!(!Version::new("2.3.722.0").understands_terminate());
        assert!(Version::new("2.3.756.0").understands_terminate());
    }

    #[test]
    fn what_is_not_four_numbers_supports_nothing() {
        for text in
            ["", "3.3.1142", "3.3.1142.0.1", "3.3.x.0", "v3.3.1142.0", "3.3.1142.-1", "99999999999.0.0.0"]
        {
            assert!(!Version::new(text).multiplexes(), "{text}");
        }
    }
}
