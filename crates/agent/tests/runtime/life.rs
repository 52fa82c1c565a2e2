//! The runtime of this node beyond what every runtime keeps.
