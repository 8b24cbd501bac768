//! The simulated database's one table.

/// The users, as `/api/users` answers them.
pub const USERS: &str = r#"[
  {"id": 1, "name": "Ada Lovelace", "email": "ada@example.com"},
  {"id": 2, "name": "Alan Turing", "email": "alan@example.com"},
  {"id": 3, "name": "Barbara Liskov", "email": "barbara@example.com"},
  {"id": 4, "name": "Dennis Ritchie", "email": "dennis@example.com"},
  {"id": 5, "name": "Edsger Dijkstra", "email": "edsger@example.com"},
  {"id": 6, "name": "Grace Hopper", "email": "grace@example.com"},
  {"id": 7, "name": "Katherine Johnson", "email": "katherine@example.com"},
  {"id": 8, "name": "Ken Thompson", "email": "ken@example.com"},
  {"id": 9, "name": "Leslie Lamport", "email": "leslie@example.com"},
  {"id": 10, "name": "Margaret Hamilton", "email": "margaret@example.com"}
]"#;
