//! Several stores on one directory, as of several processes: OS locks do not tell them apart.
