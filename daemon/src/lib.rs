//! The per-user daemon that owns AWS Session Manager tunnels.
