package sqlstore

// PageRows sets how many rows one statement about persons looks at.
func (s *Store) PageRows(n int) { s.pageRows = n }

// PageQuery is the statement that lists persons behind a position.
func (s *Store) PageQuery(table, column string) string {
	f := s.at("t0", table, column)
	k := f.walk()
	return s.db.Bind(k.page(s.table(table)+" t0", condition{parts: []string{k.position + " > " + k.mark}}, 500))
}
