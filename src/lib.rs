//! Checkvalve.
