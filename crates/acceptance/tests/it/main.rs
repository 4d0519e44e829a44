//! The product from outside: doors, routes, secrets, the command line, the running binary.

mod binary;
mod doors;
mod routes;
mod secrets;
