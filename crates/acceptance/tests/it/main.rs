//! The product from outside: doors, routes, secrets, the command line, the running binary.

#![expect(clippy::expect_used, reason = "a test that cannot go on ends with its reason")]

mod alertmanager;
mod app;
mod audit;
mod binary;
mod browser;
mod calls;
mod configuration;
mod doors;
mod durable;
mod events;
mod files;
mod guard;
mod heartbeats;
mod hostile;
mod judges;
mod keeping;
mod lines;
mod links;
mod mail;
mod migrations;
mod outbound;
mod people;
mod postgresql;
mod public;
mod resources;
mod rooms;
mod routes;
mod sdk;
mod second;
mod secrets;
mod slack;
mod timeline;
mod verbs;
mod webhooks;
