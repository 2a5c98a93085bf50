-- name: partition_make (CREATE partition): Makes the day partitions that are missing in a range of days.
SELECT make_partitions($1::date, $2::date)

-- name: partition_days (SELECT partition): Lists the days that have partitions.
SELECT partition_days()

-- name: partition_drop_day (DROP partition): Drops a day, or empties it of finished tasks when some are not.
SELECT dropped, emptied FROM drop_partition_day($1::date, $2)

-- name: partition_make_ahead (CREATE partition): Makes the day partitions from yesterday to a number of days ahead.
SELECT make_partitions((now() AT TIME ZONE 'UTC')::date - 1, (now() AT TIME ZONE 'UTC')::date + $1::integer)
