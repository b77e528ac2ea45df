//! Run directories as pictures and pages
