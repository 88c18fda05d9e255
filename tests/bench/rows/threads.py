"""Functions that do nothing, in threads."""

from __future__ import annotations

from kinds import Peer, Row

THREADS = (
    Row(
        "4",
        "thread no-ops, lazy",
        ("ours_threads", "ours_threads_sink"),
        (Peer("mp_threadpool", "multiprocessing ThreadPool imap_unordered", 2.0, 5.0),),
    ),
    Row(
        "5",
        "thread no-ops, submitted one by one",
        ("ours_submit:threads", "ours_executor:threads"),
        (Peer("tpe_submit", "ThreadPoolExecutor.submit", 2.0, 8.0),),
    ),
)
