//! The command line of StormTunnel.
