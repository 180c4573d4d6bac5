-- What clones of a template leave out of what its versions have from their past; null is nothing.
ALTER TABLE "template" ADD COLUMN "clean" TEXT[];
