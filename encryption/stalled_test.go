package encryption_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/jobs"
)

// A trigger may say of a row for ever what a database says of what passes: the row
// is named, and the others are resealed.
func TestATriggerThatSaysARowIsLockedStopsNoReseal(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		for i := range 4 {
			s.write(t, s.db, s.writer(t), fmt.Sprint("l", i))
		}
		for _, state := range []string{"57014", "55P03"} {
			s.exec(t, s.db, `CREATE OR REPLACE FUNCTION locked() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
				IF OLD.id = ''l2'' THEN RAISE EXCEPTION USING ERRCODE = ''`+state+`''; END IF; RETURN NEW; END'`)
			s.exec(t, s.db, `DROP TRIGGER IF EXISTS locked ON letters`)
			s.exec(t, s.db, `CREATE TRIGGER locked BEFORE UPDATE ON letters FOR EACH ROW EXECUTE FUNCTION locked()`)
			_, err := s.a.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			report, err := s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
			require.NoError(t, err, state)
			require.Equal(t, []int{4, 3, 1}, []int{report.Rows, report.Cells, report.Refused}, state)
			require.Equal(t, []string{"l2", state}, []string{report.Refusals[0].Key, report.Refusals[0].Code})
		}
		// What all rows are answered, also none of them, is about none.
		s.exec(t, s.db, `DROP TRIGGER locked ON letters`)
		s.exec(t, s.db, `CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING ERRCODE = ''57014''; END'`)
		s.exec(t, s.db, `CREATE TRIGGER closed BEFORE UPDATE ON letters FOR EACH STATEMENT EXECUTE FUNCTION closed()`)
		report, err := s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
		require.ErrorContains(t, err, "57014")
		require.Zero(t, report.Refused)
	})
}

// Rows that a statement_timeout does not let be written together are written one by
// one.
func TestAStatementThatTakesTooLongIsMadeSmaller(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		for i := range 8 {
			s.write(t, s.db, s.writer(t), fmt.Sprint("l", i))
		}
		// As a timeout answers it, whose length no test depends on.
		s.exec(t, s.db, `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
			IF (SELECT count(*) FROM news) > 3 THEN RAISE EXCEPTION USING ERRCODE = ''57014''; END IF; RETURN NULL; END'`)
		s.exec(t, s.db, `CREATE TRIGGER slow AFTER UPDATE ON letters REFERENCING NEW TABLE AS news FOR EACH STATEMENT EXECUTE FUNCTION slow()`)
		_, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		report, err := s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
		require.NoError(t, err)
		require.Equal(t, []int{8, 8, 0, 0}, []int{report.Rows, report.Cells, report.Refused, report.Locked})
		s.requireAll(t, 8)
	})
}

// A rule that writes another table and answers for it is met row by row.
func TestARuleThatAnswersForAnotherTableEndsNoReseal(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		for i := range 3 {
			s.write(t, s.db, s.writer(t), fmt.Sprint("l", i))
		}
		s.exec(t, s.db, `CREATE TABLE other AS SELECT * FROM letters`)
		s.exec(t, s.db, `CREATE RULE kept AS ON UPDATE TO letters DO INSTEAD UPDATE other SET body = NEW.body, person = NEW.person WHERE id = OLD.id RETURNING other.*`)
		_, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		report, err := s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
		require.NoError(t, err)
		require.Equal(t, []int{3, 0, 3}, []int{report.Rows, report.Cells, report.Refused}, "what stands in letters stays as it was")
		s.requireAll(t, 3)
	})
}

// A hook that leaves the transaction broken, and says nothing, is no refusal of rows.
func TestAHookThatBreaksTheTransactionEndsAReseal(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		s.write(t, s.db, s.writer(t), "l1")
		_, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		report, err := s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{BeforeRow: func(ctx context.Context, tx *sql.Tx, _, _ string) error {
			_, _ = tx.ExecContext(ctx, `SELECT nothing_of_the_kind`)
			return nil
		}})
		require.ErrorContains(t, err, "25P02")
		require.Zero(t, report.Refused)
	})
}
