//! Carries out a plan: decide → start → record. Sees neither GitHub, the database nor the web.
