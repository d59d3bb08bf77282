//! Builds the two binaries once and runs them in a place of their own.
