use e4::{Client, ClientId, ClientKey, Identity, MemoryStore};

/// A client that exists for one connection: the key server is no client itself.
pub(super) fn nobody() -> Result<Client, String> {
    let failed = |error: &dyn std::fmt::Display| format!("could not make a client for the connection: {error}");
    // Half of a random key that is used for nothing else is a random id.
    let random = ClientKey::generate().map_err(|error| failed(&error))?;
    let id =
        random.as_bytes().first_chunk().copied().map(ClientId::from_bytes).unwrap_or(ClientId::from_bytes([0; 16]));
    let key = ClientKey::generate().map_err(|error| failed(&error))?;
    Client::builder(Identity::symmetric(id, key)).create(MemoryStore::new()).map_err(|error| failed(&error))
}
