//! What killed processes, power cuts and strangers leave behind.
