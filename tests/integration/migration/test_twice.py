from tests.support.sources import articles, expected
def test_x(migrations, store):
    rows = articles(60)
    o = migrations.bring(rows[:30], rows[30:])
    assert store.published() == {r["unique_id"]: expected(r) for r in rows}
    before = store.versions()
    o = migrations.run()
    print(o.seconds, o.account)
    assert store.versions() == before
