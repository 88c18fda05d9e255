"""What executors share whose workers belong to another system, such as Dask or Ray: attempts travel by the batch.

`dispatcher` decides on the controller's side which worker gets what and takes in what came of it; `running` is a batch
in a worker; `spool` is what a worker writes down, so that its death tells what had ended. `words` is what travels.
An executor brings the connection, the face of the contract, and the workers' coming and going.
"""
