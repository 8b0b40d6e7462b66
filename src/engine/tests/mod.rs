//! The engine against a model of the world: every schedule of small uploads, seeded large ones.

mod exhaustive;
mod rules;
mod seeded;
mod service;
mod world;
