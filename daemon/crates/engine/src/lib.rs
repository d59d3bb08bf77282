//! Keeps tunnels up: machines that decide, actors that act, ports to the world.
//!
