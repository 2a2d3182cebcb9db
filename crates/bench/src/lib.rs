//! Load generators and side-by-side reports.
