"""Who runs what: queues, slots and due times of the tenants this process owns."""
