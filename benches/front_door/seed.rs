//! Filling a database without asking the server a hundred thousand times.

use std::ops::Range;
use std::path::Path;

use bastide_benches::Outcome;
use bastide_store::{Change, Location, Resource, ResourcePut, Store, Write};
use jiff::Timestamp;
use uuid::Uuid;

/// Copies the resource with the id `model`, as a server that is stopped now has stored it, under other names.
pub(crate) async fn seed(database: &Path, model: &str, numbers: Range<usize>) -> Outcome<()> {
    let store = Store::open(&Location::Sqlite(database.to_owned())).await?;
    let model = store.resource(&model.to_ascii_lowercase()).await?.ok_or("the model is not there")?;
    for first in numbers.clone().step_by(BATCH) {
        let batch = first..(first + BATCH).min(numbers.end);
        let changes = batch.map(|number| copy(&model, &name(number)).map(Change::PutResource));
        let changes = changes.collect::<Outcome<_>>()?;
        store.commit(Write { changes, ..Write::new(Timestamp::UNIX_EPOCH) }).await?;
    }
    store.close().await;
    Ok(())
}

/// The name of the copy with this number.
pub(crate) fn name(number: usize) -> String {
    format!("seeded-{number:06}")
}

fn copy(model: &Resource, name: &str) -> Outcome<ResourcePut> {
    let (parent, _) = model.id.rsplit_once('/').ok_or("the model has no parent")?;
    Ok(ResourcePut {
        id: format!("{parent}/{name}"),
        type_name: model.type_name.clone(),
        incarnation: Uuid::new_v4(),
        listed: model.listed,
        tags: model.tags.clone(),
        body: model.body.clone(),
        by: model.created.by.clone(),
        by_type: model.created.by_type.clone(),
    })
}

/// Resources in one commit.
const BATCH: usize = 1000;
