"""Out-of-bag predictions, as they were told with a trial's replicates."""

from collections import defaultdict

import sqlalchemy as sa

from hpo_storage.database import Database
from hpo_storage.retry import retried
from hpo_storage.tables import PREDICTIONS


@retried
def read_predictions(db: Database, trial_id: int) -> dict[int, bytes]:
    """Little-endian float32 of `score` rows by outputs, by replicate; empty where none were stored."""
    query = sa.select(PREDICTIONS.c.replicate, PREDICTIONS.c.content).where(PREDICTIONS.c.trial_id == trial_id)
    parts: dict[int, list[bytes]] = defaultdict(list)
    with db.begin_read() as connection:
        for replicate, content in connection.execute(query.order_by(PREDICTIONS.c.replicate, PREDICTIONS.c.chunk)):
            parts[replicate].append(content)
    return {replicate: b"".join(contents) for replicate, contents in parts.items()}
