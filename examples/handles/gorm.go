package main

import (
	"context"

	"gorm.io/gorm"
)

func (c *crm) withGORM(ctx context.Context, db *gorm.DB, id, email string, rest func() error) error {
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		var before Contact
		if err := tx.Take(&before, "id = ?", id).Error; err != nil {
			return err
		}
		after := before
		after.Email = email
		if err := tx.Save(&after).Error; err != nil {
			return err
		}
		if _, err := c.trail.Record(ctx, tx.Statement.ConnPool, c.moved(&before, &after)); err != nil {
			return err
		}
		return rest()
	})
}

// withGORMNested does it in a transaction within a transaction, a savepoint.
func (c *crm) withGORMNested(ctx context.Context, db *gorm.DB, id, email string, rest func() error) error {
	return db.Transaction(func(tx *gorm.DB) error { return c.withGORM(ctx, tx, id, email, rest) })
}
